"""Hard regions on maps drawn by hand, and against a flood fill written for clarity."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.data.components import hard_regions

IDS = {".": 0, "a": 1, "b": 2, "c": 3, "?": 255}  # road; three classes of which a and b are hard; ignored
HARD = (False, True, True, False)


def drawn(*rows: str, dtype: type = np.uint8) -> np.ndarray:
    """A label map `[H, W]` from rows of the letters above."""
    return np.array([[IDS[letter] for letter in row] for row in rows], dtype)


def found(label: np.ndarray, hard=HARD, min_area=1, merge_distance=0, **options):
    """Boxes with their class as a list of ((x0, y0, x1, y1), class)."""
    boxes, classes = hard_regions(label, hard, min_area=min_area, merge_distance=merge_distance, **options)
    assert boxes.dtype == np.float32 and boxes.shape == (len(classes), 4)
    assert classes.dtype == np.int64 and classes.ndim == 1
    return [(tuple(map(int, box)), int(k)) for box, k in zip(boxes, classes, strict=True)]


def test_one_blob() -> None:
    label = drawn(
        "......",
        "..aa..",
        "..a...",
        "......",
    )
    assert found(label) == [((2, 1, 4, 3), 1)]


def test_corners_touch() -> None:
    label = drawn(
        "aa..",
        "aa..",
        "..bb",
        "..b.",
    )
    assert found(label) == [((0, 0, 4, 4), 1)]
    assert found(label, per_class=True) == [((0, 0, 2, 2), 1), ((2, 2, 4, 4), 2)]


@pytest.mark.parametrize("transposed", [False, True])
def test_merging_at_exactly_the_distance(transposed: bool) -> None:
    label = drawn(
        "aa...aa",
        "aa.....",
    )
    apart = [((0, 0, 2, 2), 1), ((5, 0, 7, 1), 1)]
    together = [((0, 0, 7, 2), 1)]
    if transposed:
        label = label.T
        apart = [((0, 0, 2, 2), 1), ((0, 5, 1, 7), 1)]
        together = [((0, 0, 2, 7), 1)]
    assert found(label, merge_distance=2) == apart
    assert found(label, merge_distance=3) == together


def test_the_distance_holds_on_both_axes() -> None:
    label = drawn(
        "a.....",
        "......",
        "....a.",
    )
    assert len(found(label, merge_distance=2)) == 2  # 3 between them across, 1 down
    assert found(label, merge_distance=3) == [((0, 0, 5, 3), 1)]


def test_merging_goes_on_from_part_to_part() -> None:
    assert found(drawn("a..b..a...a"), merge_distance=2) == [((0, 0, 7, 1), 1), ((10, 0, 11, 1), 1)]


def test_small_regions_are_left_out_after_merging() -> None:
    label = drawn(
        "aa.aa....b",
        ".........b",
    )
    assert found(label, min_area=2) == [((0, 0, 2, 1), 1), ((3, 0, 5, 1), 1), ((9, 0, 10, 2), 2)]
    assert found(label, min_area=3) == []
    assert found(label, min_area=4, merge_distance=1) == [((0, 0, 5, 1), 1)], "four pixels, the gap does not count"
    assert found(label, min_area=5, merge_distance=1) == []


def test_the_most_frequent_hard_class_names_the_region() -> None:
    label = drawn(
        "aabbbc",
        "ccccc.",
    )
    assert found(label) == [((0, 0, 5, 1), 2)]  # easy pixels do not vote
    assert found(drawn("bbaa")) == [((0, 0, 4, 1), 1)]  # of equals the lowest id


def test_each_class_by_itself() -> None:
    label = drawn(
        "abbba",
        "aaaaa",
    )
    assert found(label, per_class=True) == [((0, 0, 5, 2), 1), ((1, 0, 4, 1), 2)]
    assert found(drawn("a.b.a"), per_class=True, merge_distance=3) == [((0, 0, 5, 1), 1), ((2, 0, 3, 1), 2)]
    assert found(drawn("a.b..a"), per_class=True, merge_distance=3) == [
        ((0, 0, 1, 1), 1),
        ((2, 0, 3, 1), 2),
        ((5, 0, 6, 1), 1),
    ], "a class does not bridge gaps of another one"


def test_ignored_pixels_belong_to_no_region() -> None:
    label = drawn(
        "a?b",
        "???",
    )
    assert found(label) == [((0, 0, 1, 1), 1), ((2, 0, 3, 1), 2)]
    assert found(label, merge_distance=1) == [((0, 0, 3, 1), 1)]
    assert found(label, hard=(False, True)) == [((0, 0, 1, 1), 1)], "ids of K and above are ignored"


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize(
    ("label", "hard"),
    [
        (drawn("...", "ccc"), HARD),
        (drawn("aab", "???"), (False,) * 4),
        (drawn("???", "???"), (True,) * 4),
        (np.zeros((0, 4), np.uint8), HARD),
        (np.zeros((4, 0), np.int64), HARD),
    ],
)
def test_nothing_hard_gives_empty_arrays(label: np.ndarray, hard: tuple[bool, ...], per_class: bool) -> None:
    assert found(label, hard, per_class=per_class) == []


@pytest.mark.parametrize("merge_distance", [0, 1, 2, 7, 50])
@pytest.mark.parametrize("per_class", [False, True])
def test_a_map_that_is_hard_all_over(merge_distance: int, per_class: bool) -> None:
    label = np.ones((5, 7), np.uint8)
    assert found(label, merge_distance=merge_distance, per_class=per_class) == [((0, 0, 7, 5), 1)]


@pytest.mark.parametrize("merge_distance", [0, 1, 2])
def test_boxes_reach_the_border_and_not_beyond(merge_distance: int) -> None:
    label = drawn(
        "a......b",
        "........",
        "........",
        "........",
        "b......a",
    )
    corners = [((0, 0, 1, 1), 1), ((7, 0, 8, 1), 2), ((0, 4, 1, 5), 2), ((7, 4, 8, 5), 1)]
    assert found(label, merge_distance=merge_distance) == corners
    assert found(drawn("....a", "a...."), merge_distance=merge_distance) == [((4, 0, 5, 1), 1), ((0, 1, 1, 2), 1)]


def test_other_types_and_layouts_of_a_map() -> None:
    rows = ("a..bb.?", "aa.....", "......b")
    expected = found(drawn(*rows))
    assert len(expected) == 3
    for dtype in (np.int16, np.int32, np.int64):
        assert found(drawn(*rows, dtype=dtype)) == expected
    wide = np.repeat(drawn(*rows), 2, axis=1)
    wide.setflags(write=False)
    assert found(wide[:, ::2]) == expected
    assert found(drawn(*rows)[:, ::-1].copy()[:, ::-1]) == expected
    assert found(np.asfortranarray(drawn(*rows))) == expected
    large = drawn(*rows, dtype=np.int64)
    large[large == 255] = 256 + 1  # no class, though its low byte is one
    assert found(large) == expected


def test_the_highest_class_that_fits() -> None:
    label = np.array([[254, 255]], np.uint8)
    assert found(label, hard=[True] * 255) == [((0, 0, 1, 1), 254)]
    with pytest.raises(ValueError, match="256 classes"):
        hard_regions(label, [True] * 256)
    with pytest.raises(ValueError, match="-1"):
        hard_regions(label, HARD, merge_distance=-1)


@st.composite
def maps(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 12)))
    chances = draw(st.sampled_from([(0.8, 0.1, 0.1, 0, 0), (0.5, 0.2, 0.2, 0.05, 0.05), (0.1, 0.4, 0.3, 0.1, 0.1)]))
    seed = draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(seed).choice([0, 1, 2, 3, 255], shape, p=chances).astype(np.uint8)


@given(maps(), st.integers(0, 4), st.integers(1, 5), st.booleans())
def test_equals_a_flood_fill(label: np.ndarray, merge_distance: int, min_area: int, per_class: bool) -> None:
    options = {"merge_distance": merge_distance, "min_area": min_area, "per_class": per_class}
    assert found(label, **options) == flooded(label, **options)


def flooded(label, merge_distance, min_area, per_class):
    """The slow twin: from pixel to pixel, as far as merge_distance allows."""
    regions = []
    for wanted in ([1], [2]) if per_class else ([1, 2],):
        open_pixels = {(y, x) for y, x in np.ndindex(label.shape) if label[y, x] in wanted}
        while open_pixels:
            front = [open_pixels.pop()]
            region = list(front)
            while front:
                y, x = front.pop()
                reached = {p for p in open_pixels if max(abs(p[0] - y), abs(p[1] - x)) <= merge_distance + 1}
                open_pixels -= reached
                front += reached
                region += reached
            if len(region) >= min_area:
                ys, xs = zip(*region, strict=True)
                votes = [int(label[pixel]) for pixel in region]
                name = max(sorted(set(votes)), key=votes.count)
                regions.append(((min(xs), min(ys), max(xs) + 1, max(ys) + 1), name))
    return sorted(regions, key=lambda r: (r[0][1], r[0][0], r[0][3], r[0][2], r[1]))
