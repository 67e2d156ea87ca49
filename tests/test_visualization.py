"""Colours, overlays, errors, panels and legends, on maps small enough to paint by hand."""

import numpy as np
import pytest

from nightlab.visualization import (
    CORRECTED,
    IGNORED,
    TEXT,
    TILE_WIDTHS,
    WRONG,
    blend,
    change_map,
    change_shares,
    colorize,
    draw_boxes,
    error_map,
    error_share,
    legend,
    scene_panels,
    titled_grid,
)

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
COLORS = (RED, GREEN, BLUE)
CLASSES = ("road", "sky", "pole")


def flat(color, height=4, width=6):
    return np.full((height, width, 3), color, np.uint8)


def has_color(image, color):
    return bool((image == color).all(-1).any())


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_class_ids_get_their_colours_and_ignored_pixels_are_black(dtype):
    painted = colorize(np.array([[0, 1], [2, 255]], dtype), COLORS)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[list(RED), list(GREEN)], [list(BLUE), [0, 0, 0]]]


def test_negative_and_too_large_ids_are_black():
    assert colorize(np.array([[-1, 3, 70000]]), COLORS).tolist() == [[[0, 0, 0]] * 3]


def test_blend_between_image_and_colour():
    image, color = flat((100, 0, 40)), flat((200, 100, 40))
    assert (blend(image, color, 0) == image).all()
    assert (blend(image, color, 1) == color).all()
    assert (blend(image, color, 0.5) == (150, 50, 40)).all()


def test_error_map_tells_right_wrong_and_ignored():
    image = flat((200, 200, 200), 1, 3)
    result = error_map(image, np.array([[0, 1, 255]]), np.array([[0, 2, 1]]), 3)
    right, wrong, ignored = result[0].tolist()
    assert right == [100, 100, 100], "half as bright, without colour"
    assert wrong == [round(0.8 * c + 0.2 * 100) for c in WRONG]
    assert ignored == list(IGNORED)


def test_right_pixels_lose_their_colour():
    result = error_map(flat(RED), np.zeros((4, 6), int), np.zeros((4, 6), int), 3)
    assert np.ptp(result, axis=-1).max() == 0


def test_inputs_are_left_as_they_are():
    image, label, prediction = flat(RED), np.zeros((4, 6), np.uint8), np.ones((4, 6), np.int64)
    scene_panels(image, label, prediction, CLASSES, COLORS)
    assert (image == RED).all() and (label == 0).all() and (prediction == 1).all()


def test_error_share_counts_labelled_pixels_only():
    label = np.array([[0, 0, 1, 255]])
    assert error_share(label, np.array([[0, 1, 1, 1]]), 3) == pytest.approx(1 / 3)
    assert np.isnan(error_share(np.full((2, 2), 255), np.zeros((2, 2), int), 3))


def test_change_map_tells_corrected_spoilt_and_unchanged():
    # Right in both, corrected, spoilt, wrong in both, ignored.
    label, before, after = (np.array([row]) for row in ([0, 1, 1, 2, 255], [0, 0, 1, 0, 0], [0, 1, 2, 1, 255]))
    same, corrected, spoilt, wrong, ignored = change_map(flat((200,) * 3, 1, 5), label, before, after, 3)[0].tolist()
    assert same == wrong == [100, 100, 100]
    assert corrected == [round(0.8 * c + 0.2 * 100) for c in CORRECTED]
    assert spoilt == [round(0.8 * c + 0.2 * 100) for c in WRONG]
    assert ignored == list(IGNORED)
    assert change_shares(label, before, after, 3) == (1 / 4, 1 / 4)


def test_change_shares_of_nothing_labelled():
    nothing = np.full((2, 2), 255)
    assert np.isnan(change_shares(nothing, nothing * 0, nothing * 0, 3)).all()


def test_boxes_are_drawn_where_they_are():
    image = flat((0, 0, 0), 120, 200)
    drawn = draw_boxes(image, np.array([[60.0, 30, 180, 110]]), ["1  0.90"], [(255, 0, 0)])
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    rows, columns = np.nonzero((drawn[..., 0] > 80) & (drawn[..., 1] < 40))
    assert (abs(columns.min() - 60) <= 3) and (abs(columns.max() - 180) <= 3) and (abs(rows.max() - 110) <= 3)
    assert (drawn == drawn[..., :1]).all(-1)[30:50, 62:90].any() and (drawn.min(-1) > 120).any(), "its name in white"
    assert (draw_boxes(image, np.zeros((0, 4)), [], []) == image).all()


@pytest.mark.parametrize("columns, rows", [(1, 4), (2, 2), (3, 2), (4, 1)])
def test_grid_places_its_tiles_row_after_row(columns, rows):
    painted = [RED, GREEN, BLUE, (9, 99, 199)]
    grid = titled_grid({f"tile {i}": flat(color, 30, 60) for i, color in enumerate(painted)}, columns)
    assert all((grid == color).all(-1).sum() == 30 * 60 for color in painted), "every tile is there, whole"
    places = [np.argwhere((grid == color).all(-1))[0].tolist() for color in painted]
    assert places == sorted(places)
    assert len({y for y, _ in places}) == rows


def test_titles_are_drawn():
    assert has_color(titled_grid({"MMM": flat(BLUE, 30, 60)}, 1), TEXT)


def test_legend_is_as_wide_as_asked_and_breaks_lines():
    wide, narrow = legend(CLASSES, COLORS, 600), legend(CLASSES, COLORS, 120)
    assert wide.shape[1] == 600 and narrow.shape[1] == 120
    assert narrow.shape[0] > wide.shape[0]
    assert all(has_color(strip, color) for strip in (wide, narrow) for color in COLORS)


def test_legend_of_nothing():
    assert legend([], [], 100).shape[1:] == (100, 3)


def test_scene_names_only_the_classes_that_occur():
    label, prediction = np.zeros((40, 600), int), np.zeros((40, 600), int)
    label[:, :300], prediction[:, 200:] = 255, 2
    picture = scene_panels(flat((10, 10, 10), 40, 600), label, prediction, CLASSES, COLORS)
    strip = picture[2 * (40 + 28) + 8 :]
    assert has_color(strip, RED) and has_color(strip, BLUE) and not has_color(strip, GREEN)


@pytest.mark.parametrize("width, tile", [(72, 504), (128, 512), (480, 480), (1000, 1000), (2048, 1024)])
def test_tiles_get_a_width_that_can_be_read(width, tile):
    assert TILE_WIDTHS[0] <= tile <= TILE_WIDTHS[1]
    label = np.zeros((20, width), np.uint8)
    picture = scene_panels(flat(GREEN, 20, width), label, label, CLASSES, COLORS, columns=1)
    assert picture.shape[1] == tile + 2 * 8


def test_class_ids_survive_the_change_of_size():
    label = np.tile(np.array([[0, 2], [255, 2]], np.uint8), (20, 40))
    picture = scene_panels(flat((7, 7, 7), 40, 80), label, label, CLASSES, COLORS)
    assert not has_color(picture, GREEN), "no class between 0 and 2 appears where they meet"


@pytest.mark.parametrize("size", [(1, 1), (45, 45), (97, 211), (360, 480), (60, 20)])
def test_any_size_and_everything_ignored(size):
    picture = scene_panels(flat(RED, *size), np.full(size, 255), np.zeros(size, int), CLASSES, COLORS)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3


def test_names_of_other_alphabets():
    assert legend(["Straße", "пешеход", "πεζός"], COLORS, 400).shape[1] == 400
