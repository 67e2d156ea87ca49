"""Regions as boxes: which windows of a frame the region level sees, and how they are cut out and zoomed. Pure torch.

Boxes are float `[R, 4]` in pixels of the frame, (x0, y0, x1, y1), with pixel i covering [i, i + 1). A position p of a
box of width w in a crop of c columns is x0 + p w / c, so cutting out and pasting back agree below the pixel.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.ops import box_iou, nms

from nightlab.errors import InputError

if TYPE_CHECKING:
    from detectron2.config import CfgNode

Size = tuple[int, int]


@dataclass(frozen=True)
class RegionRule:
    """How a box becomes what is cropped.

    Attributes:
        crop_size: (height, width) of crops, the same in training and at test.
        context: boxes grow by this factor about their centre first.
        min_zoom, max_zoom: crop pixels per pixel of what the image level sees; a region is at most `crop_size /
            min_zoom` of those large, and at least `crop_size / max_zoom`.
        tiled: a box longer than the largest region becomes several regions; else the one in its middle.
        image_size: what the image level scales frames to fit into, for `for_frame`; zeros: it sees frames as they are.
    """

    crop_size: Size
    context: float = 2.5
    min_zoom: float = 1.5
    max_zoom: float = 3.0
    tiled: bool = True
    image_size: Size = (0, 0)

    def __post_init__(self) -> None:
        if not 0 < self.min_zoom <= self.max_zoom:
            raise ValueError(f"zoom from {self.min_zoom} to {self.max_zoom}: give 0 < minimum <= maximum")

    @classmethod
    def from_config(cls, cfg: "CfgNode") -> "RegionRule":
        """What MODEL.REGION says, for frames that the image level sees as INPUT.IMAGE_SIZE says.

        Raises:
            InputError: it is no size, or no range of zooms.
        """
        region = cfg.MODEL.REGION
        for key in ("CROP_SIZE", "ZOOM_RANGE"):
            pair = region[key]
            if len(pair) != 2 or min(pair) <= 0 or (key == "ZOOM_RANGE" and pair[0] > pair[1]):
                wanted = "height and width" if key == "CROP_SIZE" else "the least and the most"
                raise InputError(f"MODEL.REGION.{key}: {list(pair)}; give {wanted}, two numbers above 0")
        seen = tuple(cfg.INPUT.IMAGE_SIZE)
        low, high = region.ZOOM_RANGE
        return cls(tuple(region.CROP_SIZE), region.CONTEXT, low, high, image_size=seen)

    def for_frame(self, frame: Size) -> "RegionRule":
        """The rule for boxes in pixels of a frame (height, width): of sets whose frames differ in size, regions show
        things equally large."""
        ratio = seen_per_frame(frame, self.image_size)
        return replace(self, min_zoom=self.min_zoom * ratio, max_zoom=self.max_zoom * ratio, image_size=(0, 0))

    def for_regions(self) -> "RegionRule":
        """The rule for boxes that were learned from regions: with their context, and larger than them by error only."""
        return replace(self, context=1.0, tiled=False)

    def regions(self, boxes: Tensor, frame: Size) -> tuple[Tensor, Tensor]:
        """Regions `[M, 4]` of boxes `[N, 4]` in a frame (height, width), and the box that each is for (int64 `[M]`).

        Regions have the crop's aspect, so that zoom is isotropic, and lie inside the frame where they fit into it. A
        box longer than the largest region becomes a row (or a grid) of largest regions at equal distances.
        """
        tiles = self.tiles(boxes)
        count = tiles.prod(dim=1)
        source = torch.repeat_interleave(torch.arange(len(boxes), device=boxes.device), count)
        place = torch.arange(len(source), device=boxes.device) - (count.cumsum(0) - count)[source]
        columns = tiles[source, 0]
        cell = torch.stack([place % columns, place.div(columns, rounding_mode="floor")], dim=1)
        return self.placed(boxes[source], tiles[source], cell, frame), source

    def tiles(self, boxes: Tensor) -> Tensor:
        """Columns and rows of regions that boxes `[N, 4]` take, int64 `[N, 2]`."""
        if not self.tiled:
            return torch.ones(len(boxes), 2, dtype=torch.int64, device=boxes.device)
        largest = boxes.new_tensor([self.crop_size[1], self.crop_size[0]]) / self.min_zoom
        return ((boxes[:, 2:] - boxes[:, :2]) / largest).ceil().clamp(min=1).long()

    def placed(self, boxes: Tensor, tiles: Tensor, cell: Tensor, frame: Size) -> Tensor:
        """The region `[M, 4]` for one cell (column, row) `[M, 2]` of each box's `tiles` `[M, 2]`."""
        crop = boxes.new_tensor([self.crop_size[1], self.crop_size[0]])
        centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        # Frame pixels per crop pixel, equal in both directions.
        step = (size * self.context / crop).amax(dim=1).clamp(1 / self.max_zoom, 1 / self.min_zoom)
        offset = ((cell + 0.5) / tiles - 0.5) * size
        half = step[:, None] * crop / 2
        middle = centre + offset
        return shift_inside(torch.cat([middle - half, middle + half], dim=1), frame)

    def grid(self, frame: Size, zoom: float, *, device: torch.device | str = "cpu") -> Tensor:
        """Regions of one zoom that cover a frame evenly, with as little overlap as that takes `[N, 4]`."""
        axes = []
        for length, crop in zip(frame, self.crop_size, strict=True):
            size = crop / zoom
            number = max(-int(-length // size), 1)
            starts = torch.linspace(0, max(length - size, 0), number, device=device)
            axes.append(torch.stack([starts, starts + size], dim=1))
        rows, columns = axes
        y, x = torch.meshgrid(torch.arange(len(rows)), torch.arange(len(columns)), indexing="ij")
        y, x = y.flatten().to(device), x.flatten().to(device)
        boxes = torch.stack([columns[x, 0], rows[y, 0], columns[x, 1], rows[y, 1]], dim=1)
        return shift_inside(boxes, frame)


def seen_per_frame(frame: Size, image_size: Size) -> float:
    """By what a frame (height, width) is scaled, aspect kept, to fit into `image_size`; zeros: not at all."""
    return min(image_size[0] / frame[0], image_size[1] / frame[1]) if all(image_size) else 1.0


def shift_inside(boxes: Tensor, frame: Size) -> Tensor:
    """Boxes moved into the frame (height, width), sizes kept; those larger than it are centred on it."""
    limit = boxes.new_tensor([frame[1], frame[0]])
    size = boxes[:, 2:] - boxes[:, :2]
    room = limit - size
    corner = torch.minimum(boxes[:, :2].clamp(min=0), room.clamp(min=0))
    corner = torch.where(room < 0, room / 2, corner)
    return torch.cat([corner, corner + size], dim=1)


def choose(boxes: Tensor, scores: Tensor, *, max_regions: int, nms_thresh: float, score_thresh: float = 0.0) -> Tensor:
    """Indices (int64, best first) of at most `max_regions` boxes after one class-agnostic NMS over all of them.

    Boxes that score below `score_thresh` are left out, as are boxes without area or with a score that is not a number.
    """
    size = boxes[:, 2:] - boxes[:, :2]
    usable = (scores >= score_thresh) & (size > 0).all(dim=1) & torch.isfinite(boxes).all(dim=1)
    candidates = usable.nonzero()[:, 0]
    kept = nms(boxes[candidates], scores[candidates], nms_thresh)
    return candidates[kept[:max_regions]]


def best_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Each box's IoU with the nearest of `others` `[N]`; 0 where there is none."""
    if len(others) == 0:
        return boxes.new_zeros(len(boxes))
    return box_iou(boxes, others).amax(dim=1)


def linear_taps(position: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where to read for linear interpolation at `position` (pixel centres at i + 0.5) of an axis of `length`.

    Returns the two neighbours' indices and the weight of the second. Up to half a pixel beyond the outermost centres,
    that is up to the axis' ends, the outermost pair is continued, so that ramps stay ramps; beyond, values repeat.
    """
    x = position.clamp(0, length) - 0.5
    first = x.floor().clamp(0, max(length - 2, 0))
    weight = x - first if length > 1 else torch.zeros_like(x)
    index = first.long()
    return index, (index + 1).clamp(max=length - 1), weight


def linear_weights(position: Tensor, length: int) -> Tensor:
    """Linear interpolation at `position` `[..., P]`, relative to an axis of `length` (0 to 1 over its extent), as
    matrices `[..., P, length]`: on a grid, a product with two small ones is faster than to gather four times."""
    first, second, weight = linear_taps(position * length, length)
    places = torch.arange(length, device=position.device)
    at_first, at_second = first[..., None] == places, second[..., None] == places
    return at_first * (1 - weight)[..., None] + at_second * weight[..., None]


def crop_and_zoom(frame: Tensor, boxes: Tensor, size: Size) -> Tensor:
    """Boxes `[R, 4]` of a frame `[C, H, W]` (any dtype), resampled bilinearly to float `[R, C, *size]`."""
    y, x = _positions(boxes, size)
    top, bottom, weight_y = linear_taps(y, frame.shape[-2])
    left, right, weight_x = linear_taps(x, frame.shape[-1])
    dtype = frame.dtype if frame.is_floating_point() else torch.float32
    weight_y, weight_x = weight_y[:, :, None].to(dtype), weight_x[:, None, :].to(dtype)

    def row(index: Tensor) -> Tensor:
        at_left = frame[:, index[:, :, None], left[:, None, :]].to(dtype)
        at_right = frame[:, index[:, :, None], right[:, None, :]].to(dtype)
        return torch.lerp(at_left, at_right, weight_x.expand_as(at_left))

    upper, lower = row(top), row(bottom)
    return torch.lerp(upper, lower, weight_y.expand_as(upper)).transpose(0, 1)


def crop_labels(label: Tensor, boxes: Tensor, size: Size, *, beyond: int | None = None) -> Tensor:
    """Boxes `[R, 4]` of a label map `[H, W]`, by the nearest pixel, `[R, *size]`; `beyond`: what is outside of the map
    instead."""
    y, x = (position.floor().long() for position in _positions(boxes, size))
    rows, columns = y.clamp(0, label.shape[-2] - 1), x.clamp(0, label.shape[-1] - 1)
    crop = label[rows[:, :, None], columns[:, None, :]]
    if beyond is None:
        return crop
    return torch.where((rows == y)[:, :, None] & (columns == x)[:, None, :], crop, beyond)


def _positions(boxes: Tensor, size: Size) -> tuple[Tensor, Tensor]:
    """Frame positions (float64) of the centres of crop rows `[R, h]` and columns `[R, w]`."""
    boxes = boxes.double()  # in float32, zoom 1 would not quite copy
    axes = []
    for axis, length in ((1, size[0]), (0, size[1])):
        unit = (torch.arange(length, device=boxes.device, dtype=boxes.dtype) + 0.5) / length
        axes.append(torch.lerp(boxes[:, axis, None], boxes[:, axis + 2, None], unit[None, :]))
    return axes[0], axes[1]
