"""The data loader's worker processes: how one begins, and what is said when one dies."""

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from nightlab.errors import InputError
from nightlab.signals import heed_only_parent

# What a loader raises where a worker has died: torch's error or, if that one was about to hand over a batch, whatever
# becomes of fetching it from a process that is gone.
DEATHS = (RuntimeError, ConnectionError, EOFError, FileNotFoundError)


def begin_worker(worker: int) -> None:
    """Workers are the parallelism; threads inside each would only fight with them and with training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    heed_only_parent()


@contextmanager
def noticed_when_asked() -> Iterator[None]:
    """Inside, loaders begin; after it, dead workers are noticed when the next batch is asked for. Torch's signal
    handler, which raises wherever the program is, must not tear a training step. Torch sets it once in a process: with
    the first loader that has workers, whatever that one loads."""
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():  # torch sets its handler there alone
            signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def death_of_worker(error: Exception) -> str:
    """What an error says of a worker that has died; nothing where it is about something else."""
    reason = " ".join(str(error).split())
    if reason.startswith("DataLoader worker"):  # wherever torch notices it
        return reason.rstrip(".")
    frames = traceback.walk_tb(error.__traceback__)
    fetching = any(frame.f_globals.get("__name__") == "multiprocessing.resource_sharer" for frame, _ in frames)
    gone = fetching and isinstance(error, DEATHS[1:])
    return f"DataLoader worker has died while it handed over a batch ({type(error).__name__})" if gone else ""


@contextmanager
def explained_death() -> Iterator[None]:
    """Inside, an error about a worker that has died becomes an InputError that says how to go on."""
    try:
        yield
    except DEATHS as error:
        reason = death_of_worker(error)
        if not reason:
            raise
        raise InputError(
            f"{reason}: run the same command with --resume to go on from the last checkpoint; if it "
            "happens again, memory is short as a rule: lower DATALOADER.NUM_WORKERS (0 has no workers)"
        ) from error
