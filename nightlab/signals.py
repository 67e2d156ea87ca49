"""SIGTERM and Ctrl-C: training stops after its step with a checkpoint, in every process at the same iteration; what
else a run does just ends."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# The exit status of a run that stopped with a checkpoint: sysexits' EX_TEMPFAIL, "try again", which no signal gives.
STOPPED = 75
# Ctrl-C in a terminal, and a scheduler that signals every process, reach a process twice: directly, and passed on.
SAME_SIGNAL_S = 1.0


class Stopped(SystemExit):
    """Ends a run that was asked to stop and can be gone on with; its exit status is `STOPPED`."""

    def __init__(self) -> None:
        super().__init__(STOPPED)


class StopRequest:
    """Whether a signal has asked this process to stop after its step. A second one ends it at once."""

    def __init__(self) -> None:
        self.signal = ""
        self._since = 0.0

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """Inside, a signal is taken down and nothing else happens. Only the main thread can do so."""
        with _handled_by(self._take_down):
            yield

    def _take_down(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.signal:
            self.signal, self._since = signal.Signals(number).name, now
            logger.warning("%s: stopping after this step, with a checkpoint; a second one ends at once", self.signal)
        elif now - self._since > SAME_SIGNAL_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


@contextmanager
def ends_in_one_line() -> Iterator[None]:
    """Inside, a signal ends this process by `Stopped` and a line of the log, where `StopRequest.heeded` does not take
    it: while data is prepared, and in the evaluation after the last step. A second one ends it at once.

    Only the main thread can do so.
    """
    with _handled_by(_end):
        yield


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    logger.warning("%s: stopped, no step was under way; --resume goes on here", signal.Signals(number).name)
    raise Stopped


@contextmanager
def passed_on(children: Callable[[], Iterable[Any]] = multiprocessing.active_children) -> Iterator[list[str]]:
    """Inside, a signal to this process goes to its children and does not end it: it waits for what they do. Gives the
    names of the signals that were passed on. One that comes before there is a child ends this process by `Stopped`.

    `children`: those that there are when a signal comes, with a method `terminate`.
    """
    passed: list[str] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        told = list(children())
        if not told:
            _end(number, frame)
        passed.append(signal.Signals(number).name)
        for child in told:
            child.terminate()

    with _handled_by(pass_on):
        yield passed


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Inside, signals go to `handler`; in another thread than the main one, where Python lets none, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, signal.SIG_DFL if former is None else former)


def heed_only_parent() -> None:
    """For a helper process: signals to the whole group are left to its parent, which still needs it for its step.

    SIGTERM from the parent ends it. Where the sender cannot be told (macOS), SIGTERM keeps its meaning.
    """
    if not hasattr(signal, "sigwaitinfo"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # in the thread below, too
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while True:
        received = signal.sigwaitinfo(SIGNALS)
        if received.si_signo == signal.SIGTERM and received.si_pid == os.getppid():
            os._exit(0)
