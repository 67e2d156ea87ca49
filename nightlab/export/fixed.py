"""Choosing and pasting regions with shapes that do not depend on values: what is not there is masked instead.

Each function says as much as its namesake in modeling/, which the tests compare it with. Pure torch.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import nms

from nightlab.modeling.merge import Pasted, resample
from nightlab.modeling.regions import RegionRule, Size

LOWEST = -1e9


class Scored(NamedTuple):
    """Boxes `[N, 4]`, their scores `[N]`, and which of them are there at all, bool `[N]`."""

    boxes: Tensor
    scores: Tensor
    real: Tensor


def best(found: Scored, number: int, nms_thresh: float) -> Scored:
    """At most `number` after one NMS over all, best first, filled up with boxes that are not real."""
    # Boxes without area suppress nothing, so that NMS keeps as many as are asked for. torch takes it for granted in
    # graphs that it keeps two.
    more = max(number, 2)
    boxes = torch.cat([torch.where(found.real[:, None], found.boxes, 0.0), found.boxes.new_zeros(more, 4)])
    scores = torch.cat([torch.where(found.real, found.scores, LOWEST), found.scores.new_full((more,), LOWEST)])
    real = torch.cat([found.real, found.real.new_zeros(more)])
    kept = nms(boxes, scores, nms_thresh)
    torch._check(kept.shape[0] >= number)
    index = kept[:number]
    return Scored(boxes[index], scores[index], real[index])


def proposals(
    boxes: Tensor, scores: Tensor, size: Size, *, before: int, after: int, nms_thresh: float, min_size: float
) -> Scored:
    """detectron2's `find_top_rpn_proposals` for one image and one level, in evaluation mode.

    Args:
        boxes, scores: decoded, of all anchors.
        size: (height, width) of the image that they are clipped to.
        before, after: how many are kept before and after NMS.
    """
    scores, index = scores.topk(min(before, len(scores)))
    boxes = boxes[index]
    finite = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores)
    limit = boxes.new_tensor([size[1], size[0]] * 2)
    boxes = torch.minimum(boxes.clamp(min=0), limit)
    large = (boxes[:, 2:] - boxes[:, :2] > min_size).all(dim=1)
    return best(Scored(boxes, scores, finite & large), after, nms_thresh)


def regions(rule: RegionRule, found: Scored, frame: Size) -> Scored:
    """`RegionRule.regions`: every box takes as many places as the largest box could need tiles."""
    across = [-int(-length * rule.min_zoom // crop) for length, crop in zip(frame, rule.crop_size, strict=True)]
    across = across if rule.tiled else [1, 1]
    number = max(across[0], 1) * max(across[1], 1)
    place = torch.arange(number, device=found.boxes.device)
    cell = torch.stack([place % max(across[1], 1), place.div(max(across[1], 1), rounding_mode="floor")], dim=1)
    boxes = found.boxes.repeat_interleave(number, dim=0)
    tiles = rule.tiles(boxes)
    cells = cell.repeat(len(found.boxes), 1)
    real = found.real.repeat_interleave(number) & (cells < tiles).all(dim=1)
    return Scored(rule.placed(boxes, tiles, cells, frame), found.scores.repeat_interleave(number), real)


def paste(logits: Tensor, found: Scored, size: Size, largest: Size) -> Pasted:
    """`merge.paste` of `[R, U + 1, h, w]`; no region is larger than `largest` (height, width), in pixels."""
    # Windows may hang over the right and lower border: no two of their pixels then share a place.
    window = (min(size[0], largest[0]) + 2, min(size[1], largest[1]) + 2)
    rows, y, inside_y = _windows(found.boxes[:, 1], found.boxes[:, 3], size[0], window[0])
    columns, x, inside_x = _windows(found.boxes[:, 0], found.boxes[:, 2], size[1], window[1])
    enlarged = resample(logits.float(), y[:, None], x[:, None])
    pyramid = (torch.minimum(y, 1 - y)[:, :, None] * torch.minimum(x, 1 - x)[:, None, :]).clamp(min=1e-6)
    inside = inside_y[:, :, None] & inside_x[:, None, :] & found.real[:, None, None]
    pyramid = torch.where(inside, pyramid, 0.0)[:, None]
    values = torch.cat([enlarged.softmax(dim=1) * pyramid, pyramid], dim=1).permute(0, 2, 3, 1)
    total = logits.new_zeros(size[0] + window[0], size[1] + window[1], logits.shape[1] + 1)
    # One after the other: runtimes may add to one place from several threads.
    for region_rows, region_columns, region_values in zip(rows, columns, values, strict=True):
        total = total.index_put((region_rows[:, None], region_columns[None, :]), region_values, accumulate=True)
    total = total[: size[0], : size[1]].permute(2, 0, 1)
    weight = total[-1]
    return Pasted(total[:-1] / weight.clamp(min=1e-12), weight > 0)


def _windows(start: Tensor, stop: Tensor, length: int, window: int) -> tuple[Tensor, Tensor, Tensor]:
    """`window` pixels of an axis for each of R intervals [start, stop), from the first whose centre lies in it.

    Returns, `[R, window]` each, their indices, where their centres lie from 0 (start) to 1 (stop), and which of them
    are in the interval and on the axis.
    """
    first = (start - 0.5).ceil().clamp(0, length).long()
    pixels = first[:, None] + torch.arange(window, device=start.device)
    centres = pixels + 0.5
    inside = (centres < stop[:, None]) & (pixels < length)
    return pixels, (centres - start[:, None]) / (stop - start)[:, None], inside
