"""What a calibration is fitted on: a few labelled pixels of each held-out image, with what both levels say of them."""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.utils import comm
from torch import Tensor

from nightlab.data.held_out import share_of_process
from nightlab.data.mapper import TestMapper
from nightlab.modeling import merge as merging
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.labelling import on_grid
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.regions import crop_labels

# Of each image, for each level: enough for one number, and few enough to keep those of all images.
PIXELS = 2000


class Sample(NamedTuple):
    """Labelled pixels: log-probabilities `[N, K]` and the classes that are true `[N]`, on the CPU."""

    log_probabilities: Tensor
    target: Tensor


def sample_levels(model: NightLab, records: Sequence[dict[str, Any]], seed: int) -> dict[str, Sample]:
    """Of each image at most `PIXELS` labelled pixels of P^I, as many of P^R in the regions found and, as "both", of P^I
    and what is pasted where these are (beside each other, `[N, K + U + 1]`), drawn by (seed, image); in processes
    together. A level without any is left out."""
    parts: dict[str, list[Sample]] = {"image_level": [], "region_level": [], "both": []}
    for record in share_of_process(records):
        given = TestMapper()(record)
        random = np.random.default_rng((seed, zlib.crc32(str(record["image_id"]).encode())))
        image = model.image_pass(given["image"].to(model.device).float())
        label = given["sem_seg"].to(model.device).long()
        valid = (label >= 0) & (label < len(model.hard_class_mask))
        parts["image_level"].append(_drawn(image.log_probabilities[None], label[None], valid[None], random))
        if model.region_level is not None:
            for level, sample in _of_regions(model, image, given, random).items():
                parts[level].append(sample)
    samples = {}
    for level, mine in parts.items():
        every = [sample for process in comm.all_gather(mine) for sample in process]
        if sum(len(sample.target) for sample in every):
            samples[level] = Sample(*(torch.cat(columns) for columns in zip(*every, strict=True)))
    return samples


def _of_regions(
    model: NightLab, image: ImagePass, given: dict[str, Any], random: np.random.Generator
) -> dict[str, Sample]:
    """Pixels of the regions of one image: of the crops, at half of their size, with the region level's outputs as
    classes, and of the frame that they are pasted into."""
    assert model.region_level is not None
    boxes = model.choose(model.candidates(image, given)).boxes
    if len(boxes) == 0:
        return {}
    label = given["sem_seg"].to(model.device)
    logits = model.region_logits([image.frame], [boxes])[0]
    region = on_grid(model, logits)
    grid = (region.shape[-2], region.shape[-1])
    target = model.region_level.targets(crop_labels(label, boxes, grid))
    valid = (target >= 0) & (target <= model.region_level.num_classes)
    samples = {"region_level": _drawn(region, target, valid, random)}
    used: list[bool] = model.region_level.used.tolist()
    if any(used):
        pasted = merging.paste(merging.in_use(logits, used), boxes, image.size)
        both = torch.cat([image.log_probabilities, merging.logarithms(pasted)])
        valid = pasted.covered & (label >= 0) & (label < len(used))
        samples["both"] = _drawn(both[None], label[None].long(), valid[None], random)
    return samples


def _drawn(log_probabilities: Tensor, target: Tensor, valid: Tensor, random: np.random.Generator) -> Sample:
    """At most `PIXELS` of the valid ones of maps `[R, K, h, w]` and `[R, h, w]`."""
    places = valid.flatten().nonzero()[:, 0].cpu().numpy()
    places = np.sort(random.choice(places, min(PIXELS, len(places)), replace=False))
    chosen = torch.from_numpy(places).to(target.device)
    region, place = chosen // target[0].numel(), chosen % target[0].numel()
    return Sample(log_probabilities.flatten(2)[region, :, place].float().cpu(), target.flatten()[chosen].cpu())
