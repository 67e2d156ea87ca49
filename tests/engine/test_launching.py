"""Signals in the first seconds of a run, before any of its processes knows what to do with one."""

import os
import signal
import subprocess
import sys
from argparse import Namespace

import pytest
from torch.multiprocessing import ProcessExitedException

from nightlab.engine import launching
from nightlab.signals import STOPPED

# The signal comes while the first of the libraries is looked for.
EARLY = """
import os, runpy, signal, sys

class Early:
    def find_spec(self, name, path, target=None):
        if name == "detectron2":
            os.kill(os.getpid(), signal.{name})

sys.meta_path.insert(0, Early())
sys.argv = ["train_net.py"]
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_while_libraries_are_imported(repository, name):
    code = EARLY.format(name=name, path=str(repository / "projects" / "NightLab" / "train_net.py"))
    ended = subprocess.run([sys.executable, "-c", code], cwd=repository, capture_output=True, text=True, check=False)
    assert ended.returncode == STOPPED, ended.stderr
    assert ended.stderr == f"{name}: stopped, no step was under way; --resume goes on here\n"


class Child:
    def terminate(self):
        pass


@pytest.mark.parametrize("code, asked, becomes", [(-15, True, SystemExit), (-15, False, ProcessExitedException)])
def test_processes_that_die_of_a_signal_in_their_first_second(monkeypatch, caplog, code, asked, becomes):
    def launch(*_, **__):
        if asked:
            os.kill(os.getpid(), signal.SIGTERM)
        raise ProcessExitedException("died", error_index=0, error_pid=1, exit_code=code, signal_name="SIGTERM")

    monkeypatch.setattr(launching, "launch", launch)
    monkeypatch.setattr(launching.passed_on.__wrapped__, "__defaults__", (lambda: [Child()],))
    args = Namespace(num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto")
    with pytest.raises(becomes) as end:
        launching.launch_run(lambda args: None, args)
    if asked:
        assert end.value.code == STOPPED and "SIGTERM: stopped at once; --resume goes on" in caplog.text
