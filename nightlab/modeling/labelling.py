"""What the detector learns from: hard regions for RDN, IoU gain for HDM.

Gain does not change while HDM trains, since both levels are frozen: it is measured once, for many candidates of each
image (`engine/gains.py`), and comes with the image from then on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor

from nightlab.modeling import merge as merging
from nightlab.modeling.gain import box_counts, dataset_gain, region_gain
from nightlab.modeling.hardness import HardnessDetector
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.layers import resize_to
from nightlab.modeling.regions import Size, choose, crop_and_zoom, crop_labels
from nightlab.modeling.sources import View, components, jittered, random

if TYPE_CHECKING:
    from nightlab.modeling.nightlab import NightLab

GAINS = ("region", "dataset", "hard")
# Candidates of one kind that overlap more than this are one.
_CANDIDATE_NMS = 0.7


@dataclass(frozen=True)
class LabelRule:
    """How the detector's labels are made.

    Attributes:
        boxes: RDN learns "region" boxes (context and aspect included) or "component" boxes (tight).
        boxes_from: of the "ground_truth" or of the image level's "prediction".
        contexts: in which contexts hard regions are among HDM's candidates.
        candidates: how many regions of an image are segmented to learn their gain.
        gain: one of `GAINS`: that of the mIoU inside the "region", or what it adds to that of the "dataset" (times the
            number of images, so that it is of the size of one image's mIoU), of all classes or of the "hard" ones.
        margin: gains of mIoU (0...1) up to this size count as neither; a gain of zero or less is a loss.
        graded: whether a region's score is to grow with its gain; otherwise all that gain are to score 1.
    """

    boxes: str = "region"
    boxes_from: str = "ground_truth"
    contexts: tuple[float, ...] = (1.5, 2.5, 4.0)
    candidates: int = 24
    gain: str = "region"
    margin: float = 0.0
    graded: bool = False


class Counted(NamedTuple):
    """Regions `[N, 4]` of one frame, and counts by class (see `box_counts`): of P^I and of the merged map in each of
    them `[N, 3, K]`, on a grid of which a point stands for `area` `[N]` pixels of the frame, and of P^I in the whole
    frame `[3, K]`."""

    boxes: Tensor
    before: Tensor
    after: Tensor
    area: Tensor
    frame: Tensor


def losses(model: NightLab, detector: HardnessDetector, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
    """The detector's losses, averaged over the images (which may differ in size and go through one by one).

    Which anchors count is drawn for each image by its `draw`, where it has one: then it does not depend on the process
    that sees the image, nor on the images before it.
    """
    every: list[dict[str, Tensor]] = []
    for given in batched_inputs:
        with torch.no_grad():
            image = model.image_pass(given["image"].to(model.device, non_blocking=True).float())
            truth = ground_truth(model, image, given)
        output = image.output
        if "draw" in given:
            torch.manual_seed(given["draw"])
        hard = model.hard_class_mask
        every.append(detector(output.image, output.features, output.logits, image.seen, hard, [truth])[1])
    return {key: torch.stack([x[key] for x in every]).mean() for key in every[0]}


def ground_truth(model: NightLab, image: ImagePass, given: dict[str, Any]) -> Instances:
    """What the detector should find in one image, as boxes in pixels of the seen image (see `RegionRPN`)."""
    view, device = model.view(image, given), image.frame.device
    if model.stage == "hdm":
        boxes, worth = gain_labels(
            model.labels, given["candidates"].to(device), given["gains"].to(device), given["full_gain"]
        )
        classes = main_class(view, boxes)
    else:
        if model.labels.boxes_from == "prediction":
            tight, found = map(torch.from_numpy, components(view, image.log_probabilities.argmax(dim=0)))
        else:
            tight, found = given["hard_boxes"], given["hard_classes"]
        boxes, classes = tight.to(device), found.to(device)
        if model.labels.boxes == "region":
            boxes, source = view.rule.regions(boxes, view.frame)
            classes = classes[source]
        worth = torch.ones(len(boxes), device=device)
    return Instances(image.seen, gt_boxes=Boxes(boxes * image.seen_per_frame), gt_worth=worth, gt_classes=classes)


def gain_labels(rule: LabelRule, boxes: Tensor, gain: Tensor, full: float) -> tuple[Tensor, Tensor]:
    """Of regions `[N, 4]` with IoU gain `[N]` those that say something, after NMS by the size of their gain, and what
    each is worth `[M]`, 0...1: nothing where it loses or changes nothing (it takes the place of one that would); else 1
    or, `graded`, its share of a `full` gain."""
    if len(gain):
        storage = get_event_storage()
        storage.put_scalar("hdm/mean_gain", gain.mean())
        storage.put_scalar("hdm/share_with_gain", (gain > 0).float().mean())
    better, worse = (
        choose(boxes, side, max_regions=len(boxes), nms_thresh=_CANDIDATE_NMS, score_thresh=least)
        for side, least in ((gain, max(rule.margin, 1e-6)), (-gain, 0.0))
    )
    index = torch.cat([better, worse])
    worth = (gain[better] / full).clamp(max=1) if rule.graded else torch.ones_like(gain[better])
    return boxes[index], torch.cat([worth, torch.zeros_like(gain[worse])])


def measured(model: NightLab, image: ImagePass, view: View) -> tuple[Tensor, Tensor]:
    """Candidates `[N, 4]` of one frame and their IoU gain `[N]`; those whose labels are all ignored are left out."""
    found = counted(model, image, view)
    return found.boxes, region_gain(found.before, found.after).float()


def counted(model: NightLab, image: ImagePass, view: View) -> Counted:
    """Candidates of one frame and what merging changes in them; those whose labels are all ignored are left out."""
    assert view.label is not None
    boxes = candidates(model, image, view)
    before, after = region_counts(model, image, view.label, boxes)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / math.prod(_grid(model))
    frame = box_counts(image.log_probabilities.argmax(dim=0)[None], view.label.long()[None], before.shape[-1])[0]
    known = before[:, 1].any(dim=1)
    return Counted(boxes[known], before[known], after[known], area[known], frame)


def measured_gains(rule: LabelRule, images: Mapping[str, Counted], hard: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Of each image the candidates `[N, 4]` and their gain `[N]`, as the rule has it; `hard`: which classes are, bool
    `[K]`."""
    if rule.gain == "region":
        return {name: (x.boxes, region_gain(x.before, x.after).float()) for name, x in images.items()}
    totals = torch.stack([x.frame for x in images.values()]).sum(dim=0)
    of = hard if rule.gain == "hard" else None

    def gain(x: Counted) -> Tensor:
        area = x.area[:, None, None]
        return (dataset_gain(x.before * area, x.after * area, totals, of) * len(images)).float()

    return {name: (x.boxes, gain(x)) for name, x in images.items()}


def candidates(model: NightLab, image: ImagePass, view: View) -> Tensor:
    """Regions whose gain is worth knowing `[N, 4]`: of `candidates` a third each are hard regions of the label map in
    several contexts, the detector's own, and random ones."""
    assert view.label is not None
    limit = model.labels.candidates
    hard_boxes = torch.from_numpy(components(view, view.label)[0]).to(image.frame.device)
    parts = [jittered(hard_boxes, view.rule, view.frame, model.labels.contexts)]
    # Any of them, not the uppermost.
    order = torch.randperm(len(parts[0]), generator=torch.Generator().manual_seed(view.key))[: limit // 3]
    parts[0] = parts[0][order.to(image.frame.device)]
    if model.detector is not None:
        training = model.detector.training
        model.detector.eval()
        detected = model.detected(image)
        model.detector.train(training)
        kept = choose(detected.boxes, detected.scores, max_regions=limit // 3, nms_thresh=_CANDIDATE_NMS)
        parts.append(detected.boxes[kept])
    parts.append(random(view).boxes)
    return torch.cat(parts)[:limit]


def region_log_probabilities(model: NightLab, image: ImagePass, boxes: Tensor) -> Tensor:
    """P^R `[R, K + 1, h, w]` of regions `[R, 4]` of one frame at half of the crop's size: a crop then has about as many
    pixels as the frame has there."""
    return on_grid(model, model.region_logits([image.frame], [boxes])[0])


def on_grid(model: NightLab, logits: Tensor) -> Tensor:
    """`region_log_probabilities` of the region level's logits `[R, K + 1, ...]`."""
    return resize_to(logits, _grid(model)).log_softmax(dim=1)


def _grid(model: NightLab) -> Size:
    assert model.rule is not None
    height, width = model.rule.crop_size
    return (max(height // 2, 1), max(width // 2, 1))


@torch.no_grad()
def region_counts(model: NightLab, image: ImagePass, label: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Counts `[N, 3, K]` (see `box_counts`) of P^I and of the merged map in regions `[N, 4]` of one frame, against its
    label map `[H, W]`, on the grid of `region_log_probabilities`."""
    assert model.region_level is not None
    region = region_log_probabilities(model, image, boxes)
    grid = (region.shape[-2], region.shape[-1])
    before = crop_and_zoom(image.log_probabilities, boxes, grid)
    rule = model.how_merged
    merged = merging.fuse(before, merging.in_use(region, rule.used).exp(), rule)
    classes = len(rule.used)
    target = crop_labels(label, boxes, grid, beyond=classes)  # no class: nothing is pasted there
    before, after = (box_counts(x.argmax(dim=1), target, classes) for x in (before, merged))
    return before, after


def gains(model: NightLab, image: ImagePass, label: Tensor | None, boxes: Tensor) -> Tensor:
    """IoU gain `[N]` in regions `[N, 4]` of one frame, against its label map `[H, W]`; NaN where all is ignored."""
    assert label is not None
    return region_gain(*region_counts(model, image, label, boxes))


def main_class(view: View, boxes: Tensor) -> Tensor:
    """The hard class with most pixels of the ground truth in each box (0 where there is none)."""
    assert view.label is not None
    label = crop_labels(view.label, boxes, (32, 32)).flatten(1)
    counts = torch.stack([(label == c).sum(dim=1) for c in range(len(view.hard))], dim=1)
    return (counts * view.hard).argmax(dim=1)
