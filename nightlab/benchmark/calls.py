"""What is timed: a forward pass and a training step of a configuration, on random weights and random images."""

from collections.abc import Callable
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import Tensor, nn

from nightlab.benchmark.timing import Stopwatch
from nightlab.engine.optimizer import build_optimizer
from nightlab.engine.step import in_batches
from nightlab.modeling import NightLab
from nightlab.modeling.regions import Size

# Methods of the model that are timed as parts of their own.
METHODS = {"crop": "crop", "paste and merge": "merge_rows"}


def build(cfg: CfgNode, size: Size, *, regions: int | None = None, scaled: bool = False) -> NightLab:
    """The model of `cfg` for images of `size` (height, width), which it does not scale but where `scaled`, as
    INPUT.IMAGE_SIZE says.

    `regions`: of each image exactly so many, where the detector finds as many; by default at most MAX_REGIONS. The
    region level answers for as many classes as HARD_CLASSES names; where it names none, for all.
    """
    cfg = cfg.clone()
    cfg.defrost()
    if not scaled:
        cfg.INPUT.IMAGE_SIZE = list(size)
    if regions is not None:
        # Untrained scores say nothing, so nothing but the number limits the regions.
        cfg.MODEL.NIGHTLAB.MAX_REGIONS, cfg.MODEL.NIGHTLAB.SCORE_THRESH = regions, 0.0
    model: NightLab = build_model(cfg)
    if model.region_level is not None:  # untrained, it would have no class to answer for
        named = len(cfg.MODEL.NIGHTLAB.HARD_CLASSES) or None
        model.hard_class_mask[:named] = True
        model.region_level.used[: None if model.region_level.all_classes else named] = True
    return model


def random_inputs(cfg: CfgNode, size: Size, batch: int) -> list[dict[str, Tensor]]:
    """Frames of noise with labels and what the stages learn from beside them: eight boxes of a tenth of the frame's
    size for the detector, a day image for the light adaptation."""
    return [_random_input(size, cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES) for _ in range(batch)]


def _random_input(size: Size, num_classes: int) -> dict[str, Any]:
    corner = torch.rand(8, 2) * 0.9 * torch.tensor([size[1], size[0]])
    boxes = torch.cat([corner, corner + 0.1 * torch.tensor([size[1], size[0]])], dim=1)
    return {
        "image": torch.randint(0, 256, (3, *size), dtype=torch.uint8),
        "day": torch.randint(0, 256, (3, *size), dtype=torch.uint8),
        "sem_seg": torch.randint(0, num_classes, size),
        "hard_boxes": boxes,
        "hard_classes": torch.randint(0, num_classes, (8,)),
        "candidates": boxes,
        "gains": torch.linspace(-0.1, 0.1, 8),
        "full_gain": 0.1,
    }


def forward(model: NightLab, inputs: list[dict[str, Tensor]]) -> Callable[[Stopwatch], object]:
    """From frames to log-probabilities or labels of their size."""

    def call(watch: Stopwatch) -> None:
        model.eval()
        with torch.no_grad(), watch.calls_of(model, METHODS if model.region_level is not None else {}):
            model(inputs)

    return call


def is_mixed(cfg: CfgNode, model: NightLab) -> bool:
    """Whether training is in mixed precision: what SOLVER.AMP says, on GPUs only, as in the trainer."""
    return bool(cfg.SOLVER.AMP.ENABLED) and model.device.type == "cuda"


def training_step(
    cfg: CfgNode, model: nn.Module, inputs: list[dict[str, Any]], amp: bool
) -> Callable[[Stopwatch], Any]:
    """Forward, backward and the recipe's optimiser of the stage that `cfg` names; `amp` in mixed precision."""
    optimizer = build_optimizer(cfg, model)
    # With the usual scale the first gradients overflow, and steps of the optimiser are skipped.
    scaler = torch.amp.GradScaler("cuda", init_scale=1.0, enabled=amp)

    def call(watch: Stopwatch) -> None:
        model.train()
        for part in in_batches(inputs, cfg.SOLVER.ACCUMULATE):
            with torch.autocast("cuda", enabled=amp), EventStorage():  # what the model logs goes into one
                loss = sum(model(part).values())
            with watch.lap("backward"):
                scaler.scale(loss).backward()
        with watch.lap("optimizer"):
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    return call
