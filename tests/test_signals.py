"""Signals: the first is taken down, a second ends the process, and workers heed their parent alone."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nightlab import signals
from nightlab.signals import StopRequest, ends_in_one_line, heed_only_parent, passed_on

STATUS = 7


def in_child(function):
    """The status, as of `os.waitpid`, of a forked process that runs the function and then exits with STATUS."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        finally:
            os._exit(STATUS)
    return os.waitpid(pid, 0)[1]


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_a_signal_is_taken_down_and_the_handlers_come_back(number, caplog):
    request, before = StopRequest(), signal.getsignal(number)
    with request.heeded():
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # the same one, passed on by a parent
    assert request.signal == number.name and signal.getsignal(number) is before
    assert caplog.text.count("stopping after this step") == 1


def test_a_second_signal_ends_at_once(monkeypatch):
    monkeypatch.setattr(signals, "SAME_SIGNAL_S", 0.0)

    def twice():
        with StopRequest().heeded():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGTERM)

    assert os.WTERMSIG(in_child(twice)) == signal.SIGTERM


@pytest.mark.parametrize("number", signals.SIGNALS)
def test_where_no_step_is_under_way_a_signal_just_ends(number, caplog):
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end, ends_in_one_line():
        with StopRequest().heeded():
            os.kill(os.getpid(), number)  # which is that one's
        os.kill(os.getpid(), number)
    assert end.value.code == signals.STOPPED and signal.getsignal(number) is before
    assert f"{number.name}: stopped, no step was under way" in caplog.text


class Child:
    terminated = 0

    def terminate(self):
        self.terminated += 1


def test_a_signal_is_passed_on_or_ends_where_there_is_nobody_yet(caplog):
    child = Child()
    with passed_on(lambda: [child]) as passed:
        os.kill(os.getpid(), signal.SIGTERM)
    assert child.terminated == 1 and passed == ["SIGTERM"]
    with pytest.raises(SystemExit) as end, passed_on(list):
        os.kill(os.getpid(), signal.SIGTERM)
    assert end.value.code == signals.STOPPED and "SIGTERM: stopped" in caplog.text


def test_a_second_signal_ends_what_is_ending():
    def twice():
        with ends_in_one_line():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            finally:
                os.kill(os.getpid(), signal.SIGINT)

    assert os.WTERMSIG(in_child(twice)) == signal.SIGINT


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="this system does not tell who sent a signal")
def test_a_worker_heeds_its_parent_alone():
    def signalled_by_another():
        heed_only_parent()
        for name in ("TERM", "INT"):
            subprocess.run(["kill", f"-{name}", str(os.getpid())], check=True)
        time.sleep(0.2)

    assert os.WEXITSTATUS(in_child(signalled_by_another)) == STATUS

    pid = os.fork()
    if pid == 0:
        heed_only_parent()
        time.sleep(60)
        os._exit(STATUS)
    time.sleep(0.3)
    os.kill(pid, signal.SIGTERM)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_library_of_signals_is_light():
    """Workers import it: it must not bring torch along."""
    code = "import sys, nightlab.signals; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
