"""Boxes, crops and tiles: ramps through any zoom, regions by hand, coverage of long boxes, what is kept of many."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nightlab.modeling.merge import resample
from nightlab.modeling.regions import (
    RegionRule,
    best_iou,
    choose,
    crop_and_zoom,
    crop_labels,
    linear_taps,
    shift_inside,
)

HEIGHT, WIDTH = 30, 40
FRAME = (HEIGHT, WIDTH)


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


def ramp(y: Tensor, x: Tensor) -> Tensor:
    """An affine function of the position in the frame, `[len(y), len(x)]`; about -80 to 90 over the frame."""
    return 10 - 3 * y[:, None] + 2 * x[None, :]


def ramp_frame(size: tuple[int, int] = FRAME) -> Tensor:
    """The ramp at the centres of all pixels `[1, H, W]`."""
    return ramp(torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5)[None]


def centres(start: float, stop: float, number: int) -> Tensor:
    """The centres of `number` equal parts of an interval."""
    return start + (torch.arange(number) + 0.5) * (stop - start) / number


# --- cutting out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "box", [(0, 0, 40, 30), (5, 3, 21, 14), (0, 0, 7, 5), (33, 23, 40, 30), (12, 9, 13, 10), (4, 0, 5, 30)]
)
def test_zoom_one_on_an_integer_box_copies_it(box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    frame = torch.randn(3, *FRAME)
    crop = crop_and_zoom(frame, boxes_of(box), (y1 - y0, x1 - x0))
    torch.testing.assert_close(crop[0], frame[:, y0:y1, x0:x1], atol=1e-6, rtol=0)


def test_bytes_become_floats_and_zoom_one_gives_the_same_bytes() -> None:
    frame = torch.randint(0, 256, (3, *FRAME), dtype=torch.uint8)
    crop = crop_and_zoom(frame, boxes_of((5, 3, 18, 14)), (11, 13))
    assert crop.dtype == torch.float32
    assert torch.equal(crop[0].round().to(torch.uint8), frame[:, 3:14, 5:18])


@pytest.mark.parametrize(("x0", "x1"), [(0, 25), (0, 587), (100, 694), (100, 699), (1025, 1132), (1900, 2047)])
def test_zoom_one_copies_in_large_frames(x0: int, x1: int) -> None:
    frame = torch.randint(0, 256, (1, 2, 2048), dtype=torch.uint8)
    crop = crop_and_zoom(frame, boxes_of((x0, 0, x1, 2)), (2, x1 - x0))
    torch.testing.assert_close(crop[0], frame[..., x0:x1].float(), atol=1e-6, rtol=0)


def test_zoom_two_by_hand() -> None:
    # Pixel centres at 0.5, 1.5, 2.5, read at 0.25, 0.75, ...; beyond the outermost centres the ramp goes on.
    frame = torch.tensor([0.0, 4.0, 20.0]).view(1, 1, 3)
    crop = crop_and_zoom(frame, boxes_of((0, 0, 3, 1)), (1, 6))
    assert crop.flatten().tolist() == [-1, 1, 3, 8, 16, 24]


def test_each_box_is_cut_out_of_its_own_place() -> None:
    frame = torch.randn(2, *FRAME)
    boxes = boxes_of((0, 0, 8, 6), (10.5, 3.25, 20, 9), (32, 24, 40, 30))
    together = crop_and_zoom(frame, boxes, (6, 8))
    assert together.shape == (3, 2, 6, 8)
    for crop, box in zip(together, boxes, strict=True):
        assert torch.equal(crop, crop_and_zoom(frame, box[None], (6, 8))[0])


# Corners in quarter pixels or anywhere; crops from half to five times as large as the box, not square.
places = st.one_of(
    st.tuples(st.sampled_from([0.0, 0.25, 3.0, 7.5]), st.sampled_from([30.0, 29.75, 20.0, 12.5])),
    st.tuples(st.floats(0, 14, width=32), st.floats(16, 30, width=32)),
)


@given(rows=places, columns=places, shape=st.tuples(st.integers(2, 70), st.integers(2, 90)))
def test_ramps_survive_any_zoom(rows: tuple, columns: tuple, shape: tuple[int, int]) -> None:
    frame = ramp_frame()
    (y0, y1), (x0, x1) = rows, (columns[0] / 30 * 40, columns[1] / 30 * 40)
    boxes = boxes_of((x0, y0, x1, y1))
    crop = crop_and_zoom(frame, boxes, shape)
    expected = ramp(centres(y0, y1, shape[0]), centres(x0, x1, shape[1]))
    torch.testing.assert_close(crop[0, 0], expected, atol=1e-4, rtol=0)
    # And back at every place of the box, its border included.
    y, x = torch.linspace(0, 1, 23), torch.linspace(0, 1, 31)
    back = resample(crop[0], y, x)
    torch.testing.assert_close(back[0], ramp(y0 + y * (y1 - y0), x0 + x * (x1 - x0)), atol=1e-4, rtol=0)


def test_positions_stay_exact_in_a_large_frame() -> None:
    frame = (torch.arange(2048) + 0.5).expand(1, 2, 2048) / 2048
    x0, x1 = 1900.3, 2040.9
    crop = crop_and_zoom(frame, boxes_of((x0, 0, x1, 2)), (2, 301))
    torch.testing.assert_close(crop[0, 0, 0], centres(x0, x1, 301) / 2048, atol=1e-6, rtol=0)


def test_there_and_back_at_zoom_one_is_the_identity() -> None:
    frame = torch.randn(3, *FRAME)
    crop = crop_and_zoom(frame, boxes_of((5, 3, 18, 14)), (11, 13))[0]
    back = resample(crop, centres(0, 1, 11), centres(0, 1, 13))
    torch.testing.assert_close(back, frame[:, 3:14, 5:18], atol=1e-4, rtol=0)


def test_one_pixel_enlarged_is_the_ramp_within_it() -> None:
    crop = crop_and_zoom(ramp_frame(), boxes_of((12, 9, 13, 10), (39, 29, 40, 30)), (4, 8))
    for found, (x, y) in zip(crop[:, 0], [(12, 9), (39, 29)], strict=True):
        torch.testing.assert_close(found, ramp(centres(y, y + 1, 4), centres(x, x + 1, 8)), atol=1e-4, rtol=0)


def test_beyond_the_frame_its_edge_repeats() -> None:
    frame = ramp_frame()
    crop = crop_and_zoom(frame, boxes_of((-40, -30, 80, 60)), (90, 120))[0, 0]  # zoom 1 of a threefold box
    torch.testing.assert_close(crop[30:60, 40:80], frame[0], atol=1e-4, rtol=0)
    edge = ramp(torch.arange(30) + 0.5, torch.tensor([0.0, 40.0]))
    torch.testing.assert_close(crop[30:60, :40], edge[:, :1].expand(-1, 40), atol=1e-4, rtol=0)
    torch.testing.assert_close(crop[30:60, 80:], edge[:, 1:].expand(-1, 40), atol=1e-4, rtol=0)


@pytest.mark.parametrize("box", [(100, 100, 120, 110), (-90, -90, -80, -80), (3, 3, 3, 3), (-5, 2, 60, 2.5)])
def test_odd_boxes_give_finite_crops(box: tuple[float, float, float, float]) -> None:
    assert torch.isfinite(crop_and_zoom(ramp_frame(), boxes_of(box), (7, 5))).all()
    assert crop_labels(torch.zeros(FRAME, dtype=torch.long), boxes_of(box), (7, 5)).shape == (1, 7, 5)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_frames_of_one_row_or_column(size: tuple[int, int]) -> None:
    frame = torch.full((2, *size), 7.0)
    crop = crop_and_zoom(frame, boxes_of((0, 0, size[1], size[0])), (3, 5))
    assert torch.equal(crop, torch.full((1, 2, 3, 5), 7.0))


def test_no_boxes_give_no_crops() -> None:
    none = torch.zeros(0, 4)
    assert crop_and_zoom(ramp_frame(), none, (6, 8)).shape == (0, 1, 6, 8)
    assert crop_labels(torch.zeros(FRAME, dtype=torch.long), none, (6, 8)).shape == (0, 6, 8)


def test_a_gradient_goes_back_into_the_frame() -> None:
    frame = torch.randn(1, *FRAME, requires_grad=True)
    crop_and_zoom(frame, boxes_of((5, 3, 21, 14)), (11, 16)).sum().backward()
    assert frame.grad is not None
    inside = torch.zeros(1, *FRAME)
    inside[:, 3:14, 5:21] = 1
    torch.testing.assert_close(frame.grad, inside, atol=1e-4, rtol=0)


def test_taps_by_hand() -> None:
    index, following, weight = linear_taps(torch.tensor([-9.0, 0.0, 0.5, 1.25, 2.5, 3.0, 99.0]), 3)
    assert index.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert following.tolist() == [1, 1, 1, 1, 2, 2, 2]
    assert weight.tolist() == [-0.5, -0.5, 0, 0.75, 1, 1.5, 1.5]


# --- labels ---------------------------------------------------------------------------------------------------------


def test_labels_beyond_the_map_are_the_nearest_or_none():
    label = torch.tensor([[0, 1], [2, 3]])
    nearest = crop_labels(label, boxes_of((-1, 0, 3, 2)), (2, 4))
    assert nearest.tolist() == [[[0, 0, 1, 1], [2, 2, 3, 3]]]
    assert crop_labels(label, boxes_of((-1, 0, 3, 2)), (2, 4), beyond=9).tolist() == [[[9, 0, 1, 9], [9, 2, 3, 9]]]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_labels_zoomed_by_whole_numbers_repeat(dtype: torch.dtype) -> None:
    label = torch.randint(0, 19, FRAME).to(dtype)
    label[10:12] = 255
    crop = crop_labels(label, boxes_of((5, 3, 21, 14)), (33, 32))
    assert crop.dtype == dtype
    assert torch.equal(crop[0], label[3:14, 5:21].repeat_interleave(3, 0).repeat_interleave(2, 1))


def test_labels_made_smaller_take_the_pixel_under_the_centre() -> None:
    label = torch.arange(12).view(1, 12)
    crop = crop_labels(label, boxes_of((0, 0, 12, 1)), (1, 4))  # centres at 1.5, 4.5, ...
    assert crop.flatten().tolist() == [1, 4, 7, 10]


@given(columns=places, rows=places, shape=st.tuples(st.integers(1, 50), st.integers(1, 50)))
def test_labels_are_never_mixed(rows: tuple, columns: tuple, shape: tuple[int, int]) -> None:
    label = (torch.arange(30)[:, None] + torch.arange(40)) % 2 * 255  # a chess board
    crop = crop_labels(label, boxes_of((columns[0], rows[0], columns[1], rows[1])), shape)
    assert set(crop.unique().tolist()) <= {0, 255}
    assert crop.shape == (1, *shape)


def test_labels_and_pixels_are_cut_at_the_same_place() -> None:
    label = torch.zeros(FRAME, dtype=torch.long)
    label[:, 20:] = 1
    boxes = boxes_of((10.3, 4.7, 33.8, 19.1))
    pixels = crop_and_zoom(label[None].float(), boxes, (48, 80))[0]
    assert torch.equal(pixels[0].round().long(), crop_labels(label, boxes, (48, 80))[0])


# --- from boxes to regions ------------------------------------------------------------------------------------------

RULE = RegionRule(crop_size=(40, 80), context=2.0, min_zoom=2.0, max_zoom=4.0)  # regions of 40x20 down to 20x10
LARGE = (300, 400)


def pixels_covered(regions: Tensor, size: tuple[int, int]) -> Tensor:
    """Which pixels have their centre in a region, bool `[H, W]`."""
    y, x = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
    x0, y0, x1, y1 = regions.T[:, :, None]
    rows, columns = (y >= y0) & (y < y1), (x >= x0) & (x < x1)
    return rows.T.float() @ columns.float() > 0


@pytest.mark.parametrize(
    ("box", "region"),
    [
        ((194, 99, 206, 101), (188, 94, 212, 106)),  # 12 wide, with context 24: 24x12 at zoom 10/3
        ((198, 96, 202, 104), (184, 92, 216, 108)),  # 8 high, with context 16: 32x16 at zoom 2.5
        ((199, 99, 201, 101), (190, 95, 210, 105)),  # small: the largest zoom
        ((185, 95, 215, 105), (180, 90, 220, 110)),  # the largest region, with less context than asked for
        ((0, 0, 12, 2), (0, 0, 24, 12)),  # moved into the frame
        ((388, 298, 400, 300), (376, 288, 400, 300)),
        ((200, 100, 200, 100), (190, 95, 210, 105)),  # a point
    ],
)
def test_one_region(box: tuple, region: tuple) -> None:
    regions, source = RULE.regions(boxes_of(box), LARGE)
    torch.testing.assert_close(regions, boxes_of(region), atol=1e-4, rtol=0)
    assert source.tolist() == [0] and source.dtype == torch.int64


def test_boxes_learned_from_regions() -> None:
    rule = RULE.for_regions()
    regions, _ = rule.regions(boxes_of((184, 92, 216, 108)), LARGE)
    torch.testing.assert_close(regions, boxes_of((184, 92, 216, 108)), msg="no context twice")
    regions, source = rule.regions(boxes_of((170, 85, 230, 115)), LARGE)  # half as large again as any region
    torch.testing.assert_close(regions, boxes_of((180, 90, 220, 110)))
    assert source.tolist() == [0]


def test_a_pole_becomes_a_column_of_tiles() -> None:
    regions, source = RULE.regions(boxes_of((199, 100, 201, 150)), LARGE)  # 50 high: three tiles, 50/3 apart
    assert source.tolist() == [0, 0, 0]
    middle = (regions[:, 1] + regions[:, 3]) / 2
    torch.testing.assert_close(middle, torch.tensor([100 + 50 / 6, 125, 150 - 50 / 6]))
    torch.testing.assert_close(regions[:, 2:] - regions[:, :2], torch.tensor([[40.0, 20.0]]).expand(3, 2))
    assert regions[:, 0].tolist() == [180] * 3


def test_a_fence_becomes_a_row_and_others_keep_their_own() -> None:
    boxes = boxes_of((10, 10, 12, 12), (100, 100, 200, 110), (50, 50, 60, 52), (100, 200, 181, 221))
    regions, source = RULE.regions(boxes, LARGE)
    assert source.tolist() == [0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3]
    middle = ((regions[:, :2] + regions[:, 2:]) / 2)[source == 1]
    torch.testing.assert_close(middle, torch.tensor([[100 + 100 / 6, 105], [150, 105], [200 - 100 / 6, 105]]))
    grid = ((regions[:, :2] + regions[:, 2:]) / 2)[source == 3]
    expected = [[x, y] for y in (205.25, 215.75) for x in (113.5, 140.5, 167.5)]
    torch.testing.assert_close(grid, torch.tensor(expected))


@pytest.mark.parametrize("crop_size", [(40, 80), (192, 192), (80, 40)])
@pytest.mark.parametrize("min_zoom", [1.5, 1.7, 2.0])
@pytest.mark.parametrize(
    "box",
    [
        (199, 0, 201, 300),  # from top to bottom
        (0, 120, 400, 126),  # from side to side
        (0, 0, 400, 300),
        (397.5, 3.3, 399.9, 288.8),  # at the rim
        (0, 294.1, 333.3, 300),
        (20, 20, 148, 148),  # 128: the largest square exactly, at zoom 1.5
    ],
)
def test_tiles_cover_their_box(box: tuple, min_zoom: float, crop_size: tuple[int, int]) -> None:
    rule = RegionRule(crop_size=crop_size, min_zoom=min_zoom)
    regions, source = rule.regions(boxes_of(box), LARGE)
    assert len(regions) == len(source) and (source == 0).all()
    assert pixels_covered(regions, LARGE)[pixels_covered(boxes_of(box), LARGE)].all()


@st.composite
def any_boxes(draw: st.DrawFn) -> Tensor:
    """Up to four boxes in a frame of 300x400, long ones and points among them."""
    axis = st.one_of(st.integers(0, 100).map(float), st.floats(0, 100, width=32))
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        (x0, x1), (y0, y1) = sorted([draw(axis), draw(axis)]), sorted([draw(axis), draw(axis)])
        rows.append((4 * x0, 3 * y0, 4 * x1, 3 * y1))
    return boxes_of(*rows)


@given(
    boxes=any_boxes(),
    crop_size=st.sampled_from([(48, 48), (40, 80), (96, 64)]),
    context=st.sampled_from([1.0, 1.3, 2.5]),
    zooms=st.sampled_from([(1.5, 3.0), (2.0, 2.0), (0.5, 1.1), (0.1, 0.2)]),
)
def test_what_holds_for_all_regions(boxes: Tensor, crop_size: tuple, context: float, zooms: tuple) -> None:
    rule = RegionRule(crop_size, context, *zooms)
    regions, source = rule.regions(boxes, LARGE)
    assert regions.shape == (len(source), 4) and regions.dtype == torch.float32
    assert source.unique().tolist() == list(range(len(boxes)))
    assert torch.equal(source, source.sort().values)
    size = regions[:, 2:] - regions[:, :2]
    zoom = torch.tensor([crop_size[1], crop_size[0]]) / size
    torch.testing.assert_close(zoom[:, 0], zoom[:, 1], rtol=1e-4, atol=0)  # isotropic
    assert (zoom >= zooms[0] * (1 - 1e-4)).all() and (zoom <= zooms[1] * (1 + 1e-4)).all()
    limit = torch.tensor([400.0, 300.0])
    fits = size <= limit
    low, high = regions[:, :2], regions[:, 2:]
    assert ((low >= 0) & (high <= limit + 1e-3))[fits].all()
    assert ((low <= 0) & (high >= limit))[~fits].all()
    for i, box in enumerate(boxes):
        tight = pixels_covered(box[None], LARGE)
        assert pixels_covered(regions[source == i] + torch.tensor([-1e-3, -1e-3, 1e-3, 1e-3]), LARGE)[tight].all()


def test_no_boxes_have_no_regions() -> None:
    regions, source = RULE.regions(torch.zeros(0, 4), LARGE)
    assert regions.shape == (0, 4) and source.shape == (0,) and source.dtype == torch.int64


def test_a_frame_smaller_than_a_region_is_at_its_centre() -> None:
    regions, _ = RULE.regions(boxes_of((0, 0, 3, 8)), (8, 100))  # with context 32x16, the frame 8 high
    torch.testing.assert_close(regions, boxes_of((0, -4, 32, 12)))


@pytest.mark.parametrize("zooms", [(0.0, 1.0), (-1.0, 1.0), (3.0, 2.0)])
def test_a_rule_without_a_zoom_is_refused(zooms: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="zoom"):
        RegionRule((8, 8), 1.0, *zooms)


def test_grid_by_hand() -> None:
    grid = RULE.grid((30, 100), 2.0)  # regions of 40x20: two rows, three columns
    expected = [(x, y, x + 40, y + 20) for y in (0, 10) for x in (0, 30, 60)]
    torch.testing.assert_close(grid, boxes_of(*expected))


@pytest.mark.parametrize("frame", [(300, 400), (20, 40), (21, 41), (7, 9), (101, 37), (720, 960)])
@pytest.mark.parametrize("zoom", [1.5, 2.0, 2.35, 3.0])
def test_grid_covers_every_pixel(frame: tuple[int, int], zoom: float) -> None:
    grid = RULE.grid(frame, zoom)
    assert pixels_covered(grid, frame).all()
    size = torch.tensor([80 / zoom, 40 / zoom])
    torch.testing.assert_close(grid[:, 2:] - grid[:, :2], size.expand(len(grid), 2), rtol=1e-4, atol=1e-4)
    columns, rows = (torch.tensor([frame[1], frame[0]]) / size - 1e-4).ceil().long().tolist()
    assert len(grid) == columns * rows  # and not one more than it takes


@pytest.mark.parametrize(
    ("box", "moved"),
    [
        ((3, 4, 13, 9), (3, 4, 13, 9)),
        ((-3, -4, 7, 1), (0, 0, 10, 5)),
        ((35, 28, 45, 33), (30, 25, 40, 30)),
        ((-80, 90, -70, 95), (0, 25, 10, 30)),
        ((5, 5, 55, 10), (-5, 5, 45, 10)),  # 50 wide: centred
        ((-7, -7, 33, 23), (0, 0, 40, 30)),  # the frame's size
    ],
)
def test_shift_inside(box: tuple, moved: tuple) -> None:
    assert torch.equal(shift_inside(boxes_of(box), FRAME), boxes_of(moved))


def test_best_iou() -> None:
    boxes = boxes_of((0, 0, 4, 4), (20, 20, 24, 24))
    others = boxes_of((2, 0, 6, 4), (0, 0, 4, 3))
    torch.testing.assert_close(best_iou(boxes, others), torch.tensor([0.75, 0.0]))
    assert best_iou(boxes, torch.zeros(0, 4)).tolist() == [0, 0]
    assert best_iou(torch.zeros(0, 4), others).shape == (0,)


# --- what is kept ---------------------------------------------------------------------------------------------------

TWO_PLACES = boxes_of((0, 0, 10, 10), (0, 0, 10, 8), (50, 0, 60, 10), (50, 5, 60, 15), (50, 0, 60, 9))
# IoU in the first place 0.8; in the second 1/3 (boxes 2 and 3), 0.9 (2 and 4) and 4/15 (3 and 4).
SCORES = torch.tensor([0.5, 0.9, 0.7, 0.6, 0.8])


def kept(
    boxes: Tensor = TWO_PLACES, scores: Tensor = SCORES, max_regions: int = 10, nms_thresh: float = 0.5, **options
):
    index = choose(boxes, scores, max_regions=max_regions, nms_thresh=nms_thresh, **options)
    assert index.dtype == torch.int64 and index.ndim == 1
    return index.tolist()


def test_best_of_each_place_first() -> None:
    assert kept() == [1, 4, 3]
    assert kept(nms_thresh=0.85) == [1, 4, 3, 0]
    assert kept(nms_thresh=0.2) == [1, 4]
    assert kept(nms_thresh=1.0) == [1, 4, 2, 3, 0]


def test_no_more_than_asked_for() -> None:
    assert kept(max_regions=2) == [1, 4]
    assert kept(max_regions=0) == []


def test_the_threshold_holds_before_suppression() -> None:
    assert kept(score_thresh=0.8) == [1, 4]  # a score of exactly the threshold stays
    assert kept(score_thresh=0.95) == []
    assert kept(scores=SCORES - 1) == []
    assert kept(scores=SCORES - 1, score_thresh=-1.0) == [1, 4, 3]


@pytest.mark.parametrize(
    "bad",
    [
        (float("nan"), 0, 10, 8),
        (0, 0, float("inf"), 8),
        (float("-inf"), 0, 10, 8),
        (0, 0, 0, 8),
        (0, 8, 10, 8),
        (10, 0, 0, 8),
        (10, 8, 0, 0),
    ],
)
def test_boxes_that_are_none_are_dropped_and_suppress_nothing(bad: tuple) -> None:
    boxes = TWO_PLACES.clone()
    boxes[1] = torch.tensor(bad)
    assert kept(boxes) == [4, 3, 0]


def test_a_score_that_is_no_number_is_dropped() -> None:
    scores = SCORES.clone()
    scores[1] = float("nan")
    assert kept(scores=scores) == [4, 3, 0]


def test_nothing_given() -> None:
    assert kept(torch.zeros(0, 4), torch.zeros(0)) == []
    assert kept(torch.full((3, 4), float("nan")), torch.ones(3)) == []


def test_the_order_given_makes_no_difference() -> None:
    boxes = torch.rand(40, 4) * 50
    boxes[:, 2:] += boxes[:, :2]
    scores = torch.rand(40)
    order = torch.randperm(40)
    assert order[kept(boxes[order], scores[order])].tolist() == kept(boxes, scores)


def test_frames_of_other_sizes_show_things_equally_large() -> None:
    rule = RegionRule((256, 256), context=2.0, min_zoom=1.25, max_zoom=2.5, image_size=(1024, 2048))
    small, large = rule.for_frame((512, 1024)), rule.for_frame((1024, 2048))
    assert (small.min_zoom, small.max_zoom, large.min_zoom) == (2.5, 5.0, 1.25)
    box = torch.tensor([[100.0, 50.0, 130.0, 110.0]])
    (one,), (two,) = (r.regions(b, f)[0] for r, b, f in ((small, box, (512, 1024)), (large, 2 * box, (1024, 2048))))
    assert torch.allclose(2 * one, two)
    assert small.for_frame((1024, 2048)) == small, "it is about pixels of its frame already"
    as_it_is = RegionRule((256, 256), image_size=(0, 0))
    assert as_it_is.for_frame((360, 480)) == as_it_is
