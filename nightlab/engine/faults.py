"""What training survives, counted: steps whose loss is no number, files that have turned bad, workers that die."""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage, has_event_storage
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nightlab.data.bad_files import BAD_FILES, BESIDE
from nightlab.data.workers import death_of_worker
from nightlab.errors import InputError, enumerate_some

logger = logging.getLogger(__name__)


class NormStatistics:
    """The running statistics of a model's BatchNorm layers, kept so that a bad step can be undone."""

    def __init__(self, model: nn.Module):
        norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
        self._buffers = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self._kept = [buffer.clone() for buffer in self._buffers]

    def keep(self) -> None:
        _copy(self._buffers, self._kept)

    def restore(self) -> None:
        _copy(self._kept, self._buffers)


@torch.no_grad()
def _copy(sources: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


class BadSteps:
    """Counts skipped steps, as `bad_steps` of the event storage, and stops training after several in a row."""

    def __init__(self, limit: int):
        """`limit`: SOLVER.STOP_AFTER_BAD_STEPS."""
        self.limit = limit
        self.total = 0
        self.in_a_row = 0

    def good(self) -> None:
        self.in_a_row = 0

    def bad(self, iteration: int, losses: Mapping[str, Tensor], batch: Sequence[Mapping[str, Any]]) -> None:
        """Say which loss and which images it was. All processes must call it together.

        Raises:
            InputError: the limit is reached.
        """
        seen = [file for x in batch for file in (x["file_name"], *x.get(BESIDE, ()))]
        mine = ({name: float(loss.detach()) for name, loss in losses.items()}, seen)
        every = comm.all_gather(mine)
        names = {name for values, _ in every for name, value in values.items() if not math.isfinite(value)}
        what = ", ".join(sorted(names)) or "the gradient"
        files = [file for _, part in every for file in part]
        self.total += 1
        self.in_a_row += 1
        get_event_storage().put_scalar("bad_steps", self.total, smoothing_hint=False)
        logger.warning("iteration %d is skipped: %s is no finite number; images: %s", iteration, what, ", ".join(files))
        if self.in_a_row >= self.limit:
            raise InputError(
                f"SOLVER.STOP_AFTER_BAD_STEPS: in {self.in_a_row} steps in a row {what} was no finite number, the last "
                f"time with {enumerate_some(files, 4)}; lower SOLVER.BASE_LR, lengthen WARMUP_ITERS or set "
                "CLIP_GRADIENTS.ENABLED True (on a GPU also try AMP.ENABLED False), check the images if they are "
                "always the same, and go on with --resume: the weights of the last checkpoint are sound"
            )


class BadFiles:
    """Names files that turned bad, counts them as `bad_files` of the event storage, and stops at too many."""

    def __init__(self, limit: int):
        """`limit`: DATALOADER.MAX_BAD_FILES."""
        self.limit = limit
        self.known: list[str] = []
        self._new: list[str] = []

    def look(self, batch: Sequence[Mapping[str, Any]]) -> bool:
        """Whether this process's part of a batch tells of files that are not known yet."""
        self._new = [error for x in batch for error in x.get(BAD_FILES, ()) if error not in self.known]
        return bool(self._new)

    def look_back(self, errors: Sequence[str]) -> None:
        """Make known to all processes, which must call it together, what this one met in a validation.

        Raises:
            InputError: as `share`.
        """
        if any(comm.all_gather([error for error in errors if error not in self.known])):
            self.look([{BAD_FILES: errors}])
            self.share("left out of the held-out images")

    def share(self, what: str = "left out, another image takes its place") -> None:
        """Make what `look` found known to all processes, which must call it together.

        Raises:
            InputError: more files than the limit have turned bad.
        """
        found = dict.fromkeys(error for part in comm.all_gather(self._new) for error in part)
        for error in found:
            self.known.append(error)
            logger.warning("%s (bad file %d): %s", what, len(self.known), error)
        get_event_storage().put_scalar("bad_files", len(self.known), smoothing_hint=False)
        if len(self.known) > self.limit:
            raise InputError(
                f"DATALOADER.MAX_BAD_FILES: {len(self.known)} files turned bad in training, more than {self.limit}; "
                f"the last: {self.known[-1]} (then, with a higher limit if need be, go on with --resume)"
            )


class DeadWorkers:
    """Counts workers of the data loader that died, as `dead_workers` of the event storage, and stops at too many."""

    def __init__(self, limit: int):
        """`limit`: DATALOADER.MAX_DEAD_WORKERS."""
        self.limit = limit
        self.total = 0

    def died(self, error: Exception, when: str) -> None:
        """Say so, for this process alone. `when`: what it was at, as "iteration 7".

        Raises:
            Exception: `error`, where it is about something else or more workers than the limit have died.
        """
        reason = death_of_worker(error)
        self.total += bool(reason)
        if not reason or self.total > self.limit:
            raise error
        if has_event_storage():  # an evaluation after training has none
            get_event_storage().put_scalar("dead_workers", self.total, smoothing_hint=False)
        logger.warning("%s: %s (number %d); going on with new workers", when, reason, self.total)
