"""Panels of both levels: which regions are shown, and that any scene and any boxes can be drawn."""

import numpy as np
import pytest

from nightlab.level_panels import CROPS, SMALL_WIDTH, Regions, level_panels, most_changed, small_panels

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CLASSES = ("road", "sky", "pole")
BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], float)


def scene(height=40, width=80):
    """Image, ground truth and image level: all road."""
    label = np.zeros((height, width), np.uint8)
    return np.full((height, width, 3), 30, np.uint8), label, label.astype(np.int64)


def panels(image, label, before, after, boxes):
    regions = Regions(boxes, [f"{0.9 - i / 10:.2f}" for i in range(len(boxes))])
    return level_panels(image, label, before, after, regions, CLASSES, (RED, GREEN, BLUE))


def test_the_most_changed_regions_in_the_order_of_the_boxes():
    _, label, before = scene()
    after = before.copy()
    after[:5, 40:50], after[:2, 0:10] = 2, 1
    assert most_changed(label, before, after, BOXES, 3, 2) == [0, 2]
    assert most_changed(label, before, after, BOXES, 3, 1) == [2]
    assert most_changed(label, after, before, BOXES, 3, 1) == [2], "gains count as losses do"


def test_ignored_pixels_are_no_change():
    _, label, before = scene()
    after = before.copy()
    after[:10, :10], label[:10, :10], after[0, 20] = 1, 255, 1
    assert most_changed(label, before, after, BOXES, 3, 1) == [1]


def test_regions_outside_of_the_frame_are_not_shown():
    _, label, before = scene()
    outside = np.array([[-9.0, 0, 0.2, 9], [100, 0, 120, 9], [5, 5, 5, 5], [70, 30, 95, 55]])
    assert most_changed(label, before, before, outside, 3, 4) == [3]


def test_every_region_shown_adds_a_row():
    image, label, before = scene()
    heights = [panels(image, label, before, before + 1, BOXES[:count]).shape[0] for count in range(5)]
    steps = np.diff(heights)
    assert (steps[:CROPS] > 100).all() and (steps[CROPS:] == 0).all()


def test_maps_of_both_levels_are_there():
    image, label, before = scene(40, 480)
    after = before.copy()
    after[:, :240] = 2
    picture = panels(image, label, before, after, np.zeros((0, 4)))
    painted = [(picture == color).all(-1).sum() for color in (RED, GREEN, BLUE)]
    # Ground truth and image level whole, half of the merged map, and swatches of the legend.
    assert 2.5 * 40 * 480 <= painted[0] < 2.6 * 40 * 480 and painted[1] == 0
    assert 0.5 * 40 * 480 <= painted[2] < 0.6 * 40 * 480


@pytest.mark.parametrize("width", [60, 480, 2000])
def test_small_panels_are_small(width):
    image, label, before = scene(40, width)
    picture = small_panels(image, label, before, before + 1, Regions(BOXES, ["0.5"] * 4), CLASSES, (RED, GREEN, BLUE))
    assert 2 * SMALL_WIDTH <= picture.shape[1] < 2 * SMALL_WIDTH + 50
    assert all((picture == color).all(-1).any() for color in (RED, GREEN))


@pytest.mark.parametrize("size", [(1, 1), (45, 45), (97, 211), (64, 1200)])
def test_any_size_any_boxes_and_everything_ignored(size):
    image, _, before = scene(*size)
    boxes = np.array([[-5.0, -5, 2000, 2000], [0.4, 0.2, 1.6, 1.4], [-9, -9, -3, -3]])
    picture = panels(image, np.full(size, 255), before, before, boxes)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
