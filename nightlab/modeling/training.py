"""What a training step of each stage learns from: a batch to a dict of losses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from nightlab.modeling import labelling
from nightlab.modeling.losses import mean_over_processes
from nightlab.modeling.region_level import RegionLevel
from nightlab.modeling.segmentor import Segmentor

if TYPE_CHECKING:
    from nightlab.modeling.nightlab import NightLab


def losses(model: NightLab, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The losses of the stage that the model is in; inputs as `NightLab.forward` takes them."""
    if model.stage in ("rdn", "hdm"):
        assert model.detector is not None
        return labelling.losses(model, model.detector, batched_inputs)
    level = _learning(model)
    images = _stacked(model, batched_inputs, "image")
    if level.own_segmentor.light is not None:
        continue_borders(images, batched_inputs)
    if model.stage == "light":
        return _light_losses(model, model.image_level, batched_inputs, images, model.image_level.adapt(images))
    target = torch.stack([x["sem_seg"].to(model.device, non_blocking=True) for x in batched_inputs])
    divisor = batched_inputs[0].get("divisor")
    if model.adversary is not None:
        night = _stacked(model, batched_inputs, "night")
        valid = valid_pixels(batched_inputs, images)
        return model.adversary.losses(model.image_level, images, night, target, valid, divisor)
    output = level(images)
    found = level.losses(output, target, divisor, _told_apart(model))
    if model.learns_light:
        found |= _light_losses(model, level.own_segmentor, batched_inputs, images, output.adapted)
    return found


def divided_together(model: NightLab, batches: list[list[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The batches of one step, told what to divide their cross entropy by, so that the mean of their losses is the loss
    of all their images together. The other losses are means over images, which batches of one size leave so."""
    if model.stage in ("light", "rdn", "hdm"):
        return batches
    targets = [x["sem_seg"].to(model.device, non_blocking=True) for batch in batches for x in batch]
    level, hard = _learning(model), _told_apart(model)
    valid = torch.stack([level.count_valid(target, hard) for target in targets]).sum()
    divisor = mean_over_processes(valid / len(batches))
    return [[{**x, "divisor": divisor} for x in batch] for batch in batches]


def continue_borders(images: Tensor, batched_inputs: list[dict[str, Any]]) -> None:
    """Crops `[B, 3, H, W]` that are padded get their last row and column repeated there, in place: black padding would
    shift the light map beside it, and tell the discriminator which images are labelled."""
    for image, given in zip(images, batched_inputs, strict=True):
        height, width = given.get("valid_size", image.shape[-2:])
        image[:, height:] = image[:, height - 1 : height]
        image[:, :, width:] = image[:, :, width - 1 : width]


def valid_pixels(batched_inputs: list[dict[str, Any]], images: Tensor) -> Tensor | None:
    """What of training crops `[B, 3, H, W]` is no padding, bool `[B, 1, H, W]`; None where nothing is padded."""
    height, width = images.shape[-2:]
    sizes = [x.get("valid_size", (height, width)) for x in batched_inputs]
    if all(size == (height, width) for size in sizes):
        return None
    valid = torch.zeros(len(sizes), 1, height, width, dtype=torch.bool)
    for mask, (h, w) in zip(valid, sizes, strict=True):
        mask[:, :h, :w] = True
    return valid.to(images.device, non_blocking=True)


def _learning(model: NightLab) -> Segmentor | RegionLevel:
    """What the stages with a segmentation loss train."""
    level: Segmentor | RegionLevel | None = model.region_level if model.stage == "region" else model.image_level
    assert level is not None
    return level


def _told_apart(model: NightLab) -> Tensor | None:
    """The classes that the region level is asked about first, bool `[K]` (see `segmentation_loss`)."""
    return model.hard_class_mask if model.stage == "region" else None


def _light_losses(
    model: NightLab, level: Segmentor, batched_inputs: list[dict[str, Any]], images: Tensor, adapted: Tensor
) -> dict[str, Tensor]:
    """What trains the light adaptation: the batch (or its `night` crops) against its `day` crops."""
    day = _stacked(model, batched_inputs, "day")
    if "night" in batched_inputs[0]:
        images = _stacked(model, batched_inputs, "night")
        adapted = level.adapt(images)
    return level.adaptation_losses(images, adapted, day)


def _stacked(model: NightLab, batched_inputs: list[dict[str, Any]], name: str) -> Tensor:
    return torch.stack([model.on_device(x[name]) for x in batched_inputs])
