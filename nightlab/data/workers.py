"""The data loader's worker processes: how one begins, and what is said when one dies."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import torch

from nightlab.errors import InputError
from nightlab.signals import heed_only_parent


def begin_worker(worker: int) -> None:
    """Workers are the parallelism; threads inside each would only fight with them and with training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    heed_only_parent()


@contextmanager
def explained_death() -> Iterator[None]:
    """Inside, torch's error about a worker that has died becomes an InputError that says how to go on."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        if not reason.startswith("DataLoader worker"):  # what torch begins it with, wherever it notices
            raise
        raise InputError(
            f"{reason.rstrip('.')}: run the same command with --resume to go on from the last checkpoint; if it "
            "happens again, memory is short as a rule: lower DATALOADER.NUM_WORKERS (0 has no workers)"
        ) from error
