"""Figures on held-out images, and the hard classes that follow from them."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import hooks
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n
from torch import Tensor, nn

from nightlab.data.loader import TestLoader, build_test_loader
from nightlab.data.workers import DEATHS
from nightlab.engine.faults import DeadWorkers
from nightlab.errors import InputError, enumerate_some
from nightlab.evaluation.evaluator import NightLabEvaluator
from nightlab.evaluation.metrics import are_named, is_hard
from nightlab.modeling.nightlab import NightLab
from nightlab.signals import Stopped


def held_out_figures(
    cfg: CfgNode,
    model: NightLab,
    records: Sequence[dict[str, Any]],
    source: str,
    *,
    bad: dict[str, None] | None = None,
    leave: Callable[[], bool] | None = None,
    workers: DeadWorkers | None = None,
) -> dict[str, float]:
    """What `NightLabEvaluator` says of `sem_seg`, with regions from `source`; the same in all processes. Nothing where
    any of them left before its last image.

    Args:
        bad, leave: as of `build_test_loader`.
        workers: counts those of this process that die; none may where it is not given.

    Raises:
        InputError: an image cannot be read (see `bad`), or there is none that can.
    """
    model.source = source
    evaluator = NightLabEvaluator("val", records[0]["source"].classes, model.hard_class_mask.tolist())
    loader = build_test_loader(cfg, records, bad=bad, leave=leave)
    with model.returning(scores=False):
        results = comm.all_gather(evaluated(model, loader, evaluator, workers or DeadWorkers(0)))[0]
    if any(comm.all_gather(loader.cut)):
        return {}
    if "sem_seg" not in results:
        raise InputError(f"DATASETS.VAL: no held-out image can be read: {enumerate_some(list(bad or ()), 3)}")
    return results["sem_seg"]


def evaluated(model: nn.Module, loader: TestLoader, evaluator: NightLabEvaluator, workers: DeadWorkers) -> Any:
    """detectron2's `inference_on_dataset`, in this process begun anew where a worker of the loader has died: that is
    noticed before any result is shared.

    Raises:
        RuntimeError: torch's (or another of `DEATHS`), where more than `workers` allows have died.
    """
    while True:
        try:
            return inference_on_dataset(model, loader, evaluator)
        except DEATHS as error:
            workers.died(error, "evaluation")


def classes_named_hard(cfg: CfgNode, classes: Sequence[str]) -> np.ndarray:
    """Which classes HARD_CLASSES names, bool `[K]`. Raises InputError where it names another."""
    return are_named(classes, cfg.MODEL.NIGHTLAB.HARD_CLASSES, "MODEL.NIGHTLAB.HARD_CLASSES")


def classes_found_hard(cfg: CfgNode, figures: Mapping[str, float], classes: Sequence[str]) -> Tensor:
    """Which classes are below HARD_IOU, bool `[K]`; those absent from the images are not, which is said once."""
    iou = np.array([figures[f"IoU-{name}"] for name in classes])
    absent = [name for name, value in zip(classes, iou, strict=True) if math.isnan(value)]
    if absent:
        said = (
            f"no pixel of {', '.join(absent)} in the held-out images (DATASETS.VAL): such a class is never found hard, "
            "and does not count for the best checkpoint; hold out other images, or name the hard classes in "
            "MODEL.NIGHTLAB.HARD_CLASSES"
        )
        log_first_n(logging.WARNING, said, name=__name__, key="message")
    return torch.from_numpy(is_hard(iou, cfg.MODEL.NIGHTLAB.HARD_IOU))


class Validation(hooks.EvalHook):
    """detectron2's EvalHook, also right after the last step, before the final checkpoint is written.

    A validation that was left without figures, because the run was asked to stop, is made up for by the run that goes
    on from that checkpoint, before its first step: as if it had not been left.
    """

    def __init__(self, period: int, validate: Callable[[], dict[str, Any]]):
        super().__init__(period, self._validated, eval_after_train=False)
        self._validate = validate
        self._is_due = False

    def _validated(self) -> dict[str, Any]:
        figures = self._validate()
        self._is_due = not figures
        return figures

    def before_train(self) -> None:
        """Raises Stopped where the run is asked to stop again, in what it makes up for."""
        if self._is_due:
            with as_of_last_step(self.trainer):
                self._do_eval()
        if self._is_due:
            raise Stopped

    def state_dict(self) -> dict[str, Any]:
        return {"is_due": True} if self._is_due else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._is_due = state["is_due"]

    def after_step(self) -> None:
        super().after_step()
        if self.trainer.iter + 1 == self.trainer.max_iter:
            self._do_eval()


@contextmanager
def as_of_last_step(trainer: Any) -> Iterator[None]:
    """Inside, a trainer that is resumed and has not begun yet is at the iteration that it was stopped after."""
    for part in (trainer, trainer.storage):
        part.iter -= 1
    yield
    for part in (trainer, trainer.storage):
        part.iter += 1
