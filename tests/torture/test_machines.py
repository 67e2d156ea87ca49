"""Two processes on one machine, on two and under torchrun end with the same weights."""

import subprocess
import sys


def test_two_machines_and_torchrun_train_as_one_machine(repository):
    command = [sys.executable, str(repository / "tests" / "torture" / "machines.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert done.stdout.count("the same weights and figures as one machine") == 3
