"""One scene in both levels: regions, image level, merged map, what merging changed, and crops of some regions.

Arrays as in visualization.py: images `[H, W, 3]` (uint8, RGB), label maps `[H, W]`, boxes `[R, 4]` in pixels.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np

from nightlab.visualization import (
    BACKGROUND,
    MARGIN,
    Colors,
    change_map,
    change_shares,
    colorize,
    draw_boxes,
    error_map,
    error_share,
    legend,
    titled_grid,
    to_tile_width,
)

SMALL_WIDTH = 480

CROPS = 3
# Regions of which a crop is shown, and the others.
SHOWN, OTHER = (255, 214, 64), (150, 190, 255)


class Regions(NamedTuple):
    """The regions merged into a scene, best first: boxes `[R, 4]` and what is known of each, as its score."""

    boxes: np.ndarray
    names: Sequence[str]


def region_names(scores: Iterable[float], kinds: Iterable[int] | None, classes: Sequence[str]) -> list[str]:
    """What stands beside each region: its score and, where `kinds` tells it, its class."""
    names = [f"{score:.2f}" for score in scores]
    return names if kinds is None else [f"{classes[k]} {name}" for k, name in zip(kinds, names, strict=True)]


def level_panels(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    regions: Regions,
    classes: Sequence[str],
    colors: Colors,
) -> np.ndarray:
    """Panels of the image level's prediction `before` and the merged one `after`, over crops and a legend."""
    num_classes = len(classes)
    numbers = [f"{i}  {name}" for i, name in enumerate(regions.names, 1)]
    shown = most_changed(label, before, after, regions.boxes, num_classes, CROPS)
    wrong = error_share(label, after, num_classes)
    corrected, spoilt = change_shares(label, before, after, num_classes)
    large, large_label, large_before, large_after = to_tile_width(image, label, before, after)
    box_colors = [SHOWN if i in shown else OTHER for i in range(len(numbers))]
    boxes = regions.boxes * (large.shape[1] / image.shape[1])
    tiles = _maps(large, large_label, large_before, large_after, boxes, numbers, box_colors, colors) | {
        f"errors after merging, red: {_percent(wrong)}": error_map(large, large_label, large_after, num_classes),
        f"blue: corrected {_percent(corrected)}, red: spoilt {_percent(spoilt)}": change_map(
            large, large_label, large_before, large_after, num_classes
        ),
    }
    strips = [titled_grid(tiles, 2)]
    width = strips[0].shape[1] // 4 - 2 * MARGIN + MARGIN // 2
    for i in shown:
        strips.append(_crop_row(image, label, before, after, regions.boxes[i], numbers[i], colors, width))
    strips.append(_legend_of((label, before, after), classes, colors, strips[0].shape[1]))
    return _stacked(strips)


def small_panels(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    regions: Regions,
    classes: Sequence[str],
    colors: Colors,
) -> np.ndarray:
    """As `level_panels`, with the frame and the three maps alone, at a small width."""
    width = image.shape[1]
    image, label, before, after = to_tile_width(image, label, before, after, largest=SMALL_WIDTH)
    boxes = regions.boxes * (image.shape[1] / width)
    numbers = [f"{i}  {name}" for i, name in enumerate(regions.names, 1)]
    grid = titled_grid(_maps(image, label, before, after, boxes, numbers, [SHOWN] * len(numbers), colors), 2)
    return np.vstack([grid, _legend_of((label, before, after), classes, colors, grid.shape[1])])


def _maps(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    boxes: np.ndarray,
    numbers: Sequence[str],
    box_colors: Colors,
    colors: Colors,
) -> dict[str, np.ndarray]:
    """The frame with its regions and the three maps, by their titles."""
    return {
        f"image, {len(numbers)} regions": draw_boxes(image, boxes, numbers, box_colors),
        "ground truth": colorize(label, colors),
        "image level": colorize(before, colors),
        "merged": colorize(after, colors),
    }


def _legend_of(maps: Sequence[np.ndarray], classes: Sequence[str], colors: Colors, width: int) -> np.ndarray:
    """The legend of the classes that occur in any of the maps."""
    occurring = [k for k in range(len(classes)) if any((each == k).any() for each in maps)]
    return legend([classes[k] for k in occurring], [colors[k] for k in occurring], width)


def most_changed(
    label: np.ndarray, before: np.ndarray, after: np.ndarray, boxes: np.ndarray, num_classes: int, number: int
) -> list[int]:
    """The places of the `number` boxes with most pixels gained or lost by merging, in the order of the boxes."""
    changes = []
    for box in boxes:
        window = _window(box, label.shape)
        right = ((each[window] == label[window]) & (label[window] < num_classes) for each in (after, before))
        gained, lost = (int(each.sum()) for each in right)
        changes.append(abs(gained - lost))
    order = sorted(range(len(boxes)), key=lambda i: -changes[i])
    return sorted(i for i in order[:number] if label[_window(boxes[i], label.shape)].size)


def _crop_row(
    image: np.ndarray,
    label: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    box: np.ndarray,
    name: str,
    colors: Colors,
    width: int,
) -> np.ndarray:
    """A region, zoomed to tiles of one width: image (brightened), image level, merged, ground truth."""
    window = _window(box, label.shape)
    height = max(round(width * label[window].shape[0] / label[window].shape[1]), 1)
    crop = cv2.resize(image[window], (width, height), interpolation=cv2.INTER_LINEAR)
    tiles = {name: _brightened(crop)}
    for title, labels in (("image level", before), ("merged", after)):
        wrong = error_share(label[window], labels[window], len(colors))
        tiles[f"{title}, right: {_percent(1 - wrong)}"] = _enlarged(colorize(labels[window], colors), width, height)
    tiles["ground truth"] = _enlarged(colorize(label[window], colors), width, height)
    return titled_grid(tiles, len(tiles))


def _window(box: np.ndarray, size: tuple[int, ...]) -> tuple[slice, slice]:
    """The whole pixels of a box that lie inside a map of this height and width."""
    x0, y0, x1, y1 = np.round(box).astype(int)
    return slice(max(y0, 0), min(max(y1, 0), size[0])), slice(max(x0, 0), min(max(x1, 0), size[1]))


def _enlarged(colored: np.ndarray, width: int, height: int) -> np.ndarray:
    return cv2.resize(colored, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def _brightened(image: np.ndarray) -> np.ndarray:
    """All but the brightest hundredth of the values spread over the whole range: a crop of a night is dark."""
    top = max(float(np.percentile(image, 99)), 1.0)
    return (image * (255 / top)).clip(0, 255).astype(np.uint8)


def _percent(share: float) -> str:
    return "nothing labelled" if np.isnan(share) else f"{100 * share:.1f} %"


def _stacked(strips: Sequence[np.ndarray]) -> np.ndarray:
    """Strips below each other, the narrower ones filled up on the right."""
    width = max(strip.shape[1] for strip in strips)
    canvas = np.empty((sum(strip.shape[0] for strip in strips), width, 3), np.uint8)
    canvas[:] = BACKGROUND
    top = 0
    for strip in strips:
        canvas[top : top + strip.shape[0], : strip.shape[1]] = strip
        top += strip.shape[0]
    return canvas
