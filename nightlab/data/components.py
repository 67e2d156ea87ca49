"""Boxes around the hard regions of a label map: connected components of the hard classes, near ones merged."""

from collections.abc import Sequence

import cv2
import numpy as np

CLASS = 4  # the column of a run that holds its class; the four before it are its box


def hard_regions(
    label: np.ndarray,
    hard: Sequence[bool] | np.ndarray,
    *,
    min_area: int = 20,
    merge_distance: int = 4,
    per_class: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The 8-connected components of the hard classes (paper, section 3.2), ordered by y0, x0, y1, x1 and class.

    Args:
        label: integers `[H, W]`; ids of K and above are ignored pixels.
        hard: for each of the K classes (at most 255) whether it is hard.
        min_area: regions with fewer pixels of hard classes, counted after merging, are left out.
        merge_distance: components are one region where at most this many pixels lie between them, on both axes. 0
            joins what touches, at an edge or a corner.
        per_class: regions of each hard class by itself, so that boxes may overlap, instead of regions of them all.

    Returns:
        Boxes float32 `[N, 4]` in pixels (x0, y0, x1, y1; the latter two exclusive), tight around pixels of hard
        classes, and the most frequent class in each region, int64 `[N]` (of equals the one with the lowest id).

    Raises:
        ValueError: more classes than a byte can count, or a negative distance.
    """
    if len(hard) > 255 or merge_distance < 0:
        raise ValueError(f"{len(hard)} classes (at most 255), merge_distance {merge_distance} (at least 0)")
    values = _hard_values(label, hard)
    runs = _runs(values)
    groups = [runs[runs[:, CLASS] == k] for k in np.unique(runs[:, CLASS])] if per_class else [runs]
    found = [_regions(values, group, min_area, merge_distance) for group in groups if len(group)]
    regions = np.concatenate([np.empty((0, 5), np.int64), *found])
    x0, y0, x1, y1, classes = regions.T
    regions = regions[np.lexsort((classes, x1, y1, x0, y0))]
    return regions[:, :CLASS].astype(np.float32), regions[:, CLASS]


def _hard_values(label: np.ndarray, hard: Sequence[bool] | np.ndarray) -> np.ndarray:
    """uint8 `[H, W]`: the class id plus one where the class is hard, else 0."""
    if not label.size:
        return np.zeros(label.shape, np.uint8)
    table = np.zeros(256, np.uint8)
    table[np.flatnonzero(hard)] = np.flatnonzero(hard) + 1
    return cv2.LUT(label if label.dtype == np.uint8 else np.minimum(label, 255).astype(np.uint8), table)


def _runs(values: np.ndarray) -> np.ndarray:
    """int64 `[R, 5]`: each horizontal run of one hard class as x0, y0, x1, y1 (of height 1) and class.

    There are far fewer runs than pixels, so boxes, areas and votes are taken from runs.
    """
    # Zeros at both ends of every row, so that no run goes on in the next one.
    flat = np.pad(values, ((0, 0), (1, 1))).ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    begins = np.flatnonzero(flat[edges])  # the other edges lead back to 0; a run ends at the edge after its first
    starts, ends = edges[begins], edges[begins + 1]
    y, x = np.divmod(starts, values.shape[1] + 2)
    return np.stack([x - 1, y, x - 1 + ends - starts, y + 1, flat[starts].astype(np.int64) - 1], axis=1)


def _regions(values: np.ndarray, runs: np.ndarray, min_area: int, merge_distance: int) -> np.ndarray:
    """int64 `[N, 5]`: box and class of each region that the pixels of `runs` (at least one) form."""
    (left, top), (right, bottom) = runs[:, :2].min(axis=0), runs[:, 2:CLASS].max(axis=0)
    mask = values[top:bottom, left:right]
    classes = runs[:, CLASS]
    if (classes == classes[0]).all():  # then pixels of other classes are none of this region's
        mask = (mask == int(classes[0]) + 1).view(np.uint8)
    # Squares of this side around two pixels touch if, and only if, no more than merge_distance pixels lie between.
    side = merge_distance + 1
    grown = cv2.dilate(mask, np.ones((side, side), np.uint8))
    number, components = cv2.connectedComponents(grown, connectivity=8)  # WithStats takes eight times as long
    number, component = number - 1, components[runs[:, 1] - top, runs[:, 0] - left] - 1

    boxes = np.repeat([[right, bottom, left, top]], number, axis=0)
    np.minimum.at(boxes[:, :2], component, runs[:, :2])
    np.maximum.at(boxes[:, 2:], component, runs[:, 2:CLASS])
    width, most = runs[:, 2] - runs[:, 0], int(classes.max()) + 1
    votes = np.bincount(component * most + classes, weights=width, minlength=number * most).reshape(number, most)
    regions = np.column_stack([boxes, votes.argmax(axis=1)])
    return regions[votes.sum(axis=1) >= min_area]
