"""Where regions come from: the detector, or what takes its place to tell what the detector is worth.

Every source gives scored regions of one frame; `choose` then keeps at most MAX_REGIONS of them, the same way for all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nightlab.data.components import hard_regions
from nightlab.modeling.regions import RegionRule, Size, shift_inside


class Candidates(NamedTuple):
    """Regions `[N, 4]` in pixels of the frame, their scores `[N]`, and optionally their classes `[N]`."""

    boxes: Tensor
    scores: Tensor
    classes: Tensor | None = None


class View(NamedTuple):
    """What a source may look at: one frame's size, P^I at that size, the hard classes, and the rules in force."""

    frame: Size
    log_probabilities: Tensor
    hard: Tensor
    rule: RegionRule
    min_area: int
    merge_distance: int
    max_regions: int
    label: Tensor | None
    key: int


def from_boxes(view: View, boxes: np.ndarray | Tensor, scores: Tensor) -> Candidates:
    """Regions around tight boxes, each with its box's score."""
    device = view.log_probabilities.device
    regions, source = view.rule.regions(torch.as_tensor(boxes, dtype=torch.float32, device=device), view.frame)
    return Candidates(regions, scores.to(device)[source])


def nothing(view: View) -> Candidates:
    return no_candidates(view.log_probabilities.device)


def no_candidates(device: torch.device) -> Candidates:
    return Candidates(torch.zeros(0, 4, device=device), torch.zeros(0, device=device))


def grid(view: View) -> Candidates:
    """A grid over the frame at the largest zoom at which MAX_REGIONS regions cover it, else at the smallest.

    Every cell is as good as another: a random order, the same one for the same image, says which are kept of too many.
    """
    device = view.log_probabilities.device
    for zoom in torch.linspace(view.rule.max_zoom, view.rule.min_zoom, 7).tolist():
        boxes = view.rule.grid(view.frame, zoom, device=device)
        if len(boxes) <= view.max_regions:
            break
    scores = np.random.default_rng((8, view.key)).uniform(0, 1, len(boxes))
    return Candidates(boxes, torch.as_tensor(scores, dtype=torch.float32, device=boxes.device))


def random(view: View) -> Candidates:
    """Regions of random place and zoom, the same ones for the same image in every run."""
    random = np.random.default_rng((7, view.key))
    number = 4 * view.max_regions
    zoom = np.exp(random.uniform(np.log(view.rule.min_zoom), np.log(view.rule.max_zoom), number))
    size = np.array(view.rule.crop_size[::-1]) / zoom[:, None]
    centre = random.uniform(0, 1, (number, 2)) * np.array(view.frame[::-1])
    boxes = torch.as_tensor(np.concatenate([centre - size / 2, centre + size / 2], 1), dtype=torch.float32)
    device = view.log_probabilities.device
    scores = torch.as_tensor(random.uniform(0, 1, number), dtype=torch.float32, device=device)
    return Candidates(shift_inside(boxes.to(device), view.frame), scores)


def moved_at_random(boxes: Tensor, view: View) -> Tensor:
    """As many boxes `[R, 4]` of the same sizes at random places of the frame, the same ones for the same image."""
    places = np.random.default_rng((9, view.key)).uniform(0, 1, (len(boxes), 2)) * np.array(view.frame[::-1])
    centre, half = torch.as_tensor(places).to(boxes), (boxes[:, 2:] - boxes[:, :2]) / 2
    return shift_inside(torch.cat([centre - half, centre + half], dim=1), view.frame)


def predicted(view: View) -> Candidates:
    """Components of hard classes in the image level's own prediction, by their mean probability of a hard class."""
    boxes, _ = components(view, view.log_probabilities.argmax(dim=0))
    return _scored_by(view, boxes, view.log_probabilities.exp()[view.hard].sum(dim=0))


def uncertainty(view: View) -> Candidates:
    """Regions of three sizes on a dense raster, by the mean entropy of P^I inside."""
    entropy = torch.special.entr(view.log_probabilities.exp()).sum(dim=0)
    boxes = raster(view)
    return Candidates(boxes, mean_inside(entropy, boxes))


def doubt(view: View) -> Candidates:
    """Regions of three sizes on a dense raster, by how much doubt about hard classes P^I leaves inside (`doubt_of`)."""
    boxes = raster(view)
    total, _ = sum_inside(doubt_of(view.log_probabilities[view.hard].exp()), boxes)
    return Candidates(boxes, total)


def doubt_of(hard: Tensor) -> Tensor:
    """Variance of the one-hot label of hard classes under their probabilities `[..., C, H, W]`, summed over them."""
    return (hard * (1 - hard)).sum(dim=-3)


def ground_truth(view: View) -> Candidates:
    """Hard regions of the ground truth, larger ones first (an oracle)."""
    assert view.label is not None, "regions from ground truth need the input's sem_seg"
    boxes, _ = components(view, view.label)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return from_boxes(view, boxes, torch.as_tensor(area))


def components(view: View, label: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Tight boxes and classes of the hard regions of a class map (see `hard_regions`)."""
    return hard_regions(
        label.cpu().numpy(), view.hard.tolist(), min_area=view.min_area, merge_distance=view.merge_distance
    )


def raster(view: View) -> Tensor:
    """Regions `[N, 4]` at three zooms, at most a quarter of their size apart."""
    boxes = []
    for zoom in torch.linspace(view.rule.min_zoom, view.rule.max_zoom, 3).tolist():
        axes = []
        for length, crop in zip(view.frame, view.rule.crop_size, strict=True):
            room = max(length - crop / zoom, 0)
            axes.append(torch.linspace(0, room, math.ceil(room / max(crop / zoom / 4, 1)) + 1))
        y, x = (axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij"))
        corner = torch.stack([x, y], dim=1)
        boxes.append(torch.cat([corner, corner + torch.tensor(view.rule.crop_size[::-1]) / zoom], dim=1))
    return shift_inside(torch.cat(boxes).float().to(view.log_probabilities.device), view.frame)


def mean_inside(weight: Tensor, boxes: Tensor) -> Tensor:
    """Mean of a map `[H, W]` over each of the boxes `[N, 4]`, rounded to whole pixels."""
    total, pixels = sum_inside(weight, boxes)
    return total / pixels.clamp(min=1)


def sum_inside(weight: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of a map `[H, W]` over each of the boxes `[N, 4]`, rounded to whole pixels, from one integral image; and of
    how many pixels."""
    integral = F.pad(weight.double().cumsum(0).cumsum(1), (1, 0, 1, 0))
    limit = torch.tensor([weight.shape[1], weight.shape[0]] * 2, device=boxes.device)
    x0, y0, x1, y1 = torch.minimum(boxes.round().long().clamp(min=0), limit).unbind(dim=1)
    total = integral[y1, x1] - integral[y0, x1] - integral[y1, x0] + integral[y0, x0]
    return total.float(), (x1 - x0) * (y1 - y0)


def _scored_by(view: View, boxes: np.ndarray, weight: Tensor) -> Candidates:
    tensor = torch.as_tensor(boxes, device=weight.device)
    return from_boxes(view, boxes, mean_inside(weight, tensor))


SOURCES: dict[str, Callable[[View], Candidates]] = {
    "none": nothing,
    "grid": grid,
    "random": random,
    "predicted": predicted,
    "uncertainty": uncertainty,
    "doubt": doubt,
    "ground_truth": ground_truth,
}


def jittered(boxes: Tensor, rule: RegionRule, frame: Size, contexts: Sequence[float]) -> Tensor:
    """Regions of the same tight boxes with several contexts, one after the other `[M, 4]`."""
    regions = [replace(rule, context=context).regions(boxes, frame)[0] for context in contexts]
    return torch.cat([boxes.new_zeros(0, 4), *regions])
