"""Figures on held-out images, and the hard classes that follow from them."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import hooks
from detectron2.evaluation import inference_on_dataset
from detectron2.utils import comm
from detectron2.utils.logger import log_first_n
from torch import Tensor

from nightlab.data.loader import build_test_loader
from nightlab.evaluation.evaluator import NightLabEvaluator
from nightlab.evaluation.metrics import is_hard
from nightlab.modeling.nightlab import NightLab


def held_out_figures(cfg: CfgNode, model: NightLab, records: Sequence[dict[str, Any]], source: str) -> dict[str, float]:
    """What `NightLabEvaluator` says of `sem_seg`, with regions from `source`; the same in all processes."""
    model.source = source
    evaluator = NightLabEvaluator("val", records[0]["source"].classes, model.hard_class_mask.tolist())
    with model.returning(scores=False):
        results = inference_on_dataset(model, build_test_loader(cfg, records), evaluator)
    return comm.all_gather(results)[0]["sem_seg"]


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
    """detectron2's EvalHook, also right after the last step, before the final checkpoint is written."""

    def __init__(self, period: int, validate: Callable[[], dict[str, Any]]):
        super().__init__(period, validate, eval_after_train=False)

    def after_step(self) -> None:
        super().after_step()
        if self.trainer.iter + 1 == self.trainer.max_iter:
            self._do_eval()
