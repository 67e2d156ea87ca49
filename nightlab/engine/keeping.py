"""Hooks that write checkpoints: periodically, the best, and before a run stops because it was asked to."""

import logging
from pathlib import Path
from typing import Any

from detectron2.engine import hooks
from detectron2.utils import comm

from nightlab.engine.checkpoint import NightLabCheckpointer, is_whole, iteration_of
from nightlab.engine.validation import as_of_last_step
from nightlab.signals import Stopped

logger = logging.getLogger(__name__)


class KeepPeriodic(hooks.PeriodicCheckpointer):
    """detectron2's periodic checkpoints, of which those from before an interruption count among the ones it keeps.

    None is written while steps are skipped: weights that have just exploded, though finite, are none to go on from.
    """

    checkpointer: NightLabCheckpointer
    max_to_keep: int

    def before_train(self) -> None:
        super().before_train()
        folder = Path(self.checkpointer.save_dir)
        for torn in folder.glob(".model_*.part.pth"):  # a run that was killed while it wrote
            torn.unlink()
        found = folder.glob("model_*.pth")
        earlier = sorted((f for f in found if 0 <= iteration_of(f) < self.trainer.start_iter), key=iteration_of)
        for old in earlier[: -self.max_to_keep]:
            old.unlink()
        self.recent_checkpoints = [str(file) for file in earlier[-self.max_to_keep :]]

    def after_step(self) -> None:
        if not self.trainer._trainer.steps.in_a_row or self.trainer.iter + 1 == self.trainer.max_iter:
            super().after_step()

    def after_train(self) -> None:
        """Writes the final checkpoint of a run that ended between its last periodic one and this, and was resumed."""
        name = f"{self.file_prefix}_final"
        last = self.trainer.max_iter - 1
        if self.trainer.iter > last and not is_whole(Path(self.checkpointer.save_dir, f"{name}.pth")):
            self.checkpointer.save(name, iteration=last)


class KeepBest(hooks.BestCheckpointer):
    """detectron2's best checkpoint by `val/sem_seg/mIoU`, remembered when a run is resumed and never resumed from.

    The last validation counts before the final checkpoint is written: a stage that has this one is finished.
    """

    _checkpointer: NightLabCheckpointer
    best_metric: float | None
    best_iter: int | None

    def __init__(self, period: int, checkpointer: NightLabCheckpointer):
        super().__init__(period, checkpointer, "val/sem_seg/mIoU")

    def before_train(self) -> None:
        path = Path(self._checkpointer.save_dir, f"{self._file_prefix}.pth")
        if self.best_metric is not None and not is_whole(path):
            logger.warning("%s: missing or damaged; the best from here on takes its place", path)
            self.best_metric = self.best_iter = None
        if self._val_metric in self.trainer.storage.latest():  # of a validation that was due
            with as_of_last_step(self.trainer):
                self._best_checking()

    def after_step(self) -> None:
        super().after_step()
        if self.trainer.iter + 1 == self.trainer.max_iter:
            self._best_checking()

    def after_train(self) -> None:
        pass

    def _best_checking(self) -> None:
        with self._checkpointer.untagged():
            super()._best_checking()

    def state_dict(self) -> dict[str, Any]:
        return {"best_metric": self.best_metric, "best_iter": self.best_iter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best_metric, self.best_iter = state["best_metric"], state["best_iter"]


class StopWhenAsked(hooks.HookBase):
    """Ends a run that a signal asked to stop, once its checkpoint is written. The last hook, in every process."""

    def __init__(self, checkpointer: NightLabCheckpointer):
        self._checkpointer = checkpointer

    def after_step(self) -> None:
        """Raises Stopped."""
        if not self.trainer._trainer.stop_now:
            return
        iteration = self.trainer.iter
        if iteration + 1 < self.trainer.max_iter:  # else the final checkpoint is there
            self._checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
        comm.synchronize()  # the first process to end takes the others with it
        logger.warning("stopped after iteration %d as asked; run the same command with --resume to go on", iteration)
        raise Stopped
