"""What a calibration is fitted on: a few labelled pixels of each held-out image, with what both levels say of them; and
whether what is fitted on some of the images holds for others."""

import logging
import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.utils import comm
from torch import Tensor

from nightlab.data.held_out import share_of_process
from nightlab.data.mapper import TestMapper
from nightlab.evaluation.metrics import class_counts, confusion_matrix, mean_iou
from nightlab.modeling import merge as merging
from nightlab.modeling.calibration import negative_log_likelihood
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.labelling import on_grid
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.regions import crop_labels

logger = logging.getLogger(__name__)

# Of each image, for each level: enough for one number, and few enough to keep those of all images.
PIXELS = 2000


class Sample(NamedTuple):
    """Labelled pixels: log-probabilities `[N, K]`, the classes that are true `[N]`, and whether they are of the later
    half of the images, bool `[N]`; on the CPU."""

    log_probabilities: Tensor
    target: Tensor
    later: Tensor


def sample_levels(model: NightLab, records: Sequence[dict[str, Any]], seed: int) -> dict[str, Sample]:
    """Of each image at most `PIXELS` labelled pixels of P^I, as many of P^R in the regions found and, as "both", of P^I
    and what is pasted where these are (beside each other, `[N, K + U + 1]`), drawn by (seed, image); in processes
    together. A level without any is left out. Halves go by the order of the images' ids, so that most frames of a drive
    are in one."""
    parts: dict[str, list[Sample]] = {"image_level": [], "region_level": [], "both": []}
    later = set(sorted((str(record["image_id"]) for record in records), key=_by_number)[len(records) // 2 :])
    for record in share_of_process(records):
        given = TestMapper()(record)
        name = str(record["image_id"])
        draw = partial(_drawn, later=name in later, random=np.random.default_rng((seed, zlib.crc32(name.encode()))))
        image = model.image_pass(given["image"].to(model.device).float())
        label = given["sem_seg"].to(model.device).long()
        valid = (label >= 0) & (label < len(model.hard_class_mask))
        parts["image_level"].append(draw(image.log_probabilities[None], label[None], valid[None]))
        if model.region_level is not None:
            for level, sample in _of_regions(model, image, given, draw).items():
                parts[level].append(sample)
    samples = {}
    for level, mine in parts.items():
        every = [sample for process in comm.all_gather(mine) for sample in process]
        if sum(len(sample.target) for sample in every):
            samples[level] = Sample(*(torch.cat(columns) for columns in zip(*every, strict=True)))
    return samples


def _by_number(name: str) -> list[tuple[int, str]]:
    """Sorts frame_9 before frame_10."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def cross_fitted(what: str, before: Sample, changed: Callable[[Tensor, Tensor], Tensor]) -> dict[str, Any]:
    """Figures of a sample before and after each half is `changed` as the other one says (mIoU of either half), and
    whether that is to be kept, as both gain by it: what is fitted may be how frequent classes are on one drive.

    Args:
        changed: log-probabilities of those pixels that the second mask, bool `[N]`, chooses, by what is fitted on those
            of the first.
    """
    values, target, later = before
    document: dict[str, Any] = {"pixels": len(target), "kept": False}
    if later.all() or not later.any():
        logger.info("%s: not kept, for pixels of one half of the images alone tell of no others", what)
        return document
    after = torch.empty_like(values)
    for half in (later, ~later):
        after[half] = changed(~half, half)
    mious = np.array([[_miou(those[half], target[half]) for half in (~later, later)] for those in (values, after)])
    document |= {"NLL": negative_log_likelihood(values, target), "NLL_after": negative_log_likelihood(after, target)}
    document |= {"mIoU": mious[0].tolist(), "mIoU_after": mious[1].tolist(), "kept": bool((mious[1] > mious[0]).all())}
    logger.info(
        "%s, each half of the images by the other: mIoU %.2f and %.2f, then %.2f and %.2f: %s",
        what,
        *mious.flatten(),
        "kept" if document["kept"] else "not kept",
    )
    return document


def _miou(log_probabilities: Tensor, target: Tensor) -> float:
    """In percent, of pixels `[N, K]` and `[N]`."""
    confusion = confusion_matrix(log_probabilities.argmax(dim=1).numpy(), target.numpy(), log_probabilities.shape[1])
    return 100 * float(mean_iou(class_counts(confusion)))


def _of_regions(
    model: NightLab, image: ImagePass, given: dict[str, Any], draw: Callable[[Tensor, Tensor, Tensor], Sample]
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
    samples = {"region_level": draw(region, target, valid)}
    used: list[bool] = model.region_level.used.tolist()
    if any(used):
        pasted = merging.paste(merging.in_use(logits, used), boxes, image.size)
        both = torch.cat([image.log_probabilities, merging.logarithms(pasted.probability)])
        valid = pasted.covered & (label >= 0) & (label < len(used))
        samples["both"] = draw(both[None], label[None].long(), valid[None])
    return samples


def _drawn(
    log_probabilities: Tensor, target: Tensor, valid: Tensor, *, later: bool, random: np.random.Generator
) -> Sample:
    """At most `PIXELS` of the valid ones of maps `[R, K, h, w]` and `[R, h, w]`."""
    places = valid.flatten().nonzero()[:, 0].cpu().numpy()
    places = np.sort(random.choice(places, min(PIXELS, len(places)), replace=False))
    chosen = torch.from_numpy(places).to(target.device)
    region, place = chosen // target[0].numel(), chosen % target[0].numel()
    values = log_probabilities.flatten(2)[region, :, place].float().cpu()
    return Sample(values, target.flatten()[chosen].cpu(), torch.full((len(chosen),), later))
