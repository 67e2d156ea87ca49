"""Where regions come from: drawn predictions and labels whose regions are known, and what holds for every source."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nightlab.modeling.regions import RegionRule, choose
from nightlab.modeling.sources import SOURCES, Candidates, View, from_boxes, jittered, mean_inside, raster

K = 4
HARD = torch.tensor([False, True, False, True])
FRAME = (60, 80)
RULE = RegionRule((32, 32), context=2.0, min_zoom=1.0, max_zoom=2.0)  # regions of 32x32 down to 16x16


def posterior(frame: tuple[int, int] = FRAME) -> Tensor:
    """P^I: certain of class 0, but for a 6x8 patch of class 1 (0.7 to 0.3) and a 4x4 one of class 3 (0.6 to 0.4)."""
    p = torch.zeros(K, *frame)
    p[0] = 1
    p[:, 10:16, 20:28] = torch.tensor([0.3, 0.7, 0, 0])[:, None, None]
    p[:, 40:44, 60:64] = torch.tensor([0.4, 0, 0, 0.6])[:, None, None]
    return p.clamp(min=1e-30).log()


def view(**changes: Any) -> View:
    plain = View(
        frame=FRAME,
        log_probabilities=posterior(),
        hard=HARD,
        rule=RULE,
        min_area=4,
        merge_distance=2,
        max_regions=10,
        label=torch.zeros(FRAME, dtype=torch.int64),
        key=0,
    )
    return plain._replace(**changes)


def boxes_of(*rows: tuple[float, float, float, float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).view(-1, 4)


def covered(boxes: Tensor, frame: tuple[int, int]) -> Tensor:
    """Which pixels have their centre in a box, bool `[H, W]`; a thousandth of a pixel counts for nothing."""
    y, x = torch.arange(frame[0]) + 0.5, torch.arange(frame[1]) + 0.5
    x0, y0, x1, y1 = (boxes + torch.tensor([-1e-3, -1e-3, 1e-3, 1e-3])).T[:, :, None]
    return ((y >= y0) & (y < y1)).T.float() @ ((x >= x0) & (x < x1)).float() > 0


# --- what holds for all of them --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(
    ("frame", "rule"),
    [
        (FRAME, RULE),
        (FRAME, RegionRule((24, 48), 2.5, 1.5, 3.0)),
        (FRAME, RegionRule((32, 32), 2.0, 1.7, 1.7)),
        ((61, 233), RULE),
        ((20, 300), RULE),  # lower than the largest region
        ((9, 11), RULE),  # smaller than any
    ],
)
def test_regions_are_inside_and_within_the_zoom_range(name: str, frame: tuple[int, int], rule: RegionRule) -> None:
    label = torch.full(frame, 255)
    label[3:8, 2:9] = 1
    label[:, 4] = 3
    log_probabilities = torch.randn(K, *frame).mul(3).log_softmax(dim=0)
    found = SOURCES[name](view(frame=frame, rule=rule, label=label, log_probabilities=log_probabilities))
    assert (len(found.boxes) == 0) == (name == "none") and found.boxes.dtype == torch.float32
    assert found.scores.shape == (len(found.boxes),) and found.scores.dtype == torch.float32
    assert torch.isfinite(found.scores).all() and (found.scores >= 0).all()
    size = found.boxes[:, 2:] - found.boxes[:, :2]
    zoom = torch.tensor([rule.crop_size[1], rule.crop_size[0]]) / size
    torch.testing.assert_close(zoom[:, 0], zoom[:, 1], rtol=1e-4, atol=0)
    assert (zoom >= rule.min_zoom * (1 - 1e-4)).all() and (zoom <= rule.max_zoom * (1 + 1e-4)).all()
    room = torch.tensor([frame[1], frame[0]]) - size
    low = found.boxes[:, :2]
    inside = (low >= -1e-3) & (low <= room + 1e-3)
    centred = (low - room / 2).abs() < 1e-3
    assert torch.where(room >= 0, inside, centred).all()


@pytest.mark.parametrize("name", ["none", "predicted", "ground_truth"])
def test_nothing_found_has_the_right_shape(name: str) -> None:
    nothing = torch.zeros(K, *FRAME)
    nothing[0] = 5
    for changes in ({"hard": torch.zeros(K, dtype=torch.bool)}, {"log_probabilities": nothing.log_softmax(dim=0)}):
        found = SOURCES[name](view(**changes))
        assert found.boxes.shape == (0, 4) and found.scores.shape == (0,) and found.classes is None
        assert len(choose(found.boxes, found.scores, max_regions=5, nms_thresh=0.5)) == 0


def test_the_same_frame_gives_the_same_regions() -> None:
    for name, source in SOURCES.items():
        first, again = source(view(key=5)), source(view(key=5))
        assert torch.equal(first.boxes, again.boxes) and torch.equal(first.scores, again.scores), name


def best(found: Candidates, number: int) -> Tensor:
    kept = choose(found.boxes, found.scores, max_regions=number, nms_thresh=0.5, score_thresh=-1.0)
    return found.boxes[kept]


# --- one by one ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("most", "zoom", "number"), [(20, 2, 20), (19, 1.5, 12), (11, 7 / 6, 9), (8, 1, 6), (5, 1, 6)])
def test_the_grid_has_the_largest_zoom_that_is_allowed(most: int, zoom: float, number: int) -> None:
    # 60x80 take 4x5 regions of 16 to 20 pixels, 3x4 of up to 26, 3x3 of 27 to 29, 2x3 of 32.
    boxes = SOURCES["grid"](view(max_regions=most)).boxes
    assert len(boxes) == number and covered(boxes, FRAME).all()
    assert 32 / (boxes[0, 2] - boxes[0, 0]).item() == pytest.approx(zoom)


@pytest.mark.parametrize("frame", [(32, 32), (33, 32), (64, 96), (70, 150), (8, 100)])
def test_the_grid_covers_the_frame(frame: tuple[int, int]) -> None:
    at_least = -(-frame[0] // 32) * -(-frame[1] // 32)
    for most in (at_least, at_least + 3, 50):
        found = SOURCES["grid"](view(frame=frame, max_regions=most))
        assert len(found.boxes) <= most and covered(found.boxes, frame).all()


def test_a_part_of_the_grid_may_lie_anywhere() -> None:
    """As good as another: where fewer cells are kept than there are, they are not always the uppermost."""
    frame = (320, 320)
    centres = [
        best(SOURCES["grid"](view(frame=frame, max_regions=10, key=key)), 10)[:, [1, 3]].mean().item()
        for key in range(20)
    ]
    assert abs(np.mean(centres) - 160) < 25 and len(set(centres)) > 5


def test_random_regions_follow_from_the_key() -> None:
    first, other = SOURCES["random"](view(key=1)), SOURCES["random"](view(key=2))
    assert len(first.boxes) >= 10
    np.random.seed(3), torch.manual_seed(3)
    assert torch.equal(SOURCES["random"](view(key=1)).boxes, first.boxes)
    assert not torch.equal(first.boxes, other.boxes) and not torch.equal(first.scores, other.scores)
    assert len(SOURCES["random"](view(key=2**32 + 7)).boxes) == len(first.boxes)


def test_random_regions_are_spread() -> None:
    found = SOURCES["random"](view(max_regions=200))
    centre = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    size = found.boxes[:, 2] - found.boxes[:, 0]
    torch.testing.assert_close(centre.mean(dim=0), torch.tensor([40.0, 30.0]), rtol=0.1, atol=0)
    assert size.min() < 18 and size.max() > 30
    assert 0.4 < (size < 32 / 2**0.5).float().mean() < 0.6, "the logarithm of the zoom is uniform"


def test_predicted_components_by_hand() -> None:
    found = SOURCES["predicted"](view())
    # 8 wide with context: 16x16 around (24, 13); 4 wide: the smallest, 16x16 around (62, 42).
    torch.testing.assert_close(found.boxes, boxes_of((16, 5, 32, 21), (54, 34, 70, 50)))
    torch.testing.assert_close(found.scores, torch.tensor([0.7, 0.6]))


def test_predicted_components_count_every_hard_class() -> None:
    log_probabilities = posterior()
    log_probabilities[:, 10:16, 20:28] = torch.tensor([0.3, 0.5, 1e-9, 0.2]).log()[:, None, None]
    found = SOURCES["predicted"](view(log_probabilities=log_probabilities))
    torch.testing.assert_close(found.scores, torch.tensor([0.7, 0.6]))


def test_components_of_ground_truth_are_ordered_by_their_size() -> None:
    label = torch.zeros(FRAME, dtype=torch.int64)
    label[2:6, 2:6] = 1
    label[30:40, 30:36] = 3
    label[50:, 50:] = 2  # not hard
    label[20:, :10] = 255
    found = SOURCES["ground_truth"](view(label=label))
    torch.testing.assert_close(best(found, 5), boxes_of((23, 25, 43, 45), (0, 0, 16, 16)))
    assert found.scores.tolist() == [16, 60]


def test_a_long_component_gives_tiles_of_one_score() -> None:
    label = torch.zeros(FRAME, dtype=torch.int64)
    label[:, 40:42] = 1
    found = SOURCES["ground_truth"](view(label=label))
    assert found.scores.tolist() == [120, 120]
    torch.testing.assert_close(found.boxes, boxes_of((25, 0, 57, 32), (25, 28, 57, 60)))


def test_ground_truth_is_needed_where_it_is_read() -> None:
    with pytest.raises(AssertionError, match="sem_seg"):
        SOURCES["ground_truth"](view(label=None))
    assert len(SOURCES["predicted"](view(label=None)).boxes) == 2


def test_uncertainty_is_where_the_entropy_is() -> None:
    found = SOURCES["uncertainty"](view())
    x0, y0, x1, y1 = best(found, 1)[0].tolist()
    assert x0 <= 20 and y0 <= 10 and x1 >= 28 and y1 >= 16, "the larger patch"
    entropy = -(0.3 * np.log(0.3) + 0.7 * np.log(0.7))
    assert found.scores.max().item() == pytest.approx(48 * entropy / 16**2, rel=1e-4)
    assert found.scores.min().item() == pytest.approx(0, abs=1e-6)


def test_doubt_is_where_hard_classes_are_neither_certain_nor_excluded() -> None:
    """Of a patch of a class that is certain, one in doubt between two hard classes, and one between two easy ones."""
    probabilities = torch.zeros(K, *FRAME)
    probabilities[0] = 1
    hard, easy = HARD.nonzero()[:, 0].tolist(), (~HARD).nonzero()[:, 0].tolist()
    for (x, y), classes in (((4, 4), hard[:1] * 2), ((40, 10), hard[:2]), ((40, 44), easy[:2])):
        patch = (slice(y, y + 8), slice(x, x + 8))
        probabilities[(slice(None), *patch)] = 0
        for c in classes:
            probabilities[(c, *patch)] += 0.5
    found = SOURCES["doubt"](view(log_probabilities=probabilities.log()))
    x0, y0, x1, y1 = best(found, 1)[0].tolist()
    assert x0 <= 40 and y0 <= 10 and x1 >= 48 and y1 >= 18
    assert found.scores.max().item() == pytest.approx(2 * 8 * 8 / 4, rel=1e-3), "a sum, whatever the region's size"
    away = (found.boxes[:, 0] >= 48) | (found.boxes[:, 2] <= 40) | (found.boxes[:, 1] >= 18)
    assert found.scores[away].max().item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("frame", [(60, 80), (61, 77), (47, 33), (20, 90)])
def test_the_raster_reaches_every_border(frame: tuple[int, int]) -> None:
    found = raster(view(frame=frame))
    for size in (16, 32 / 1.5, 32):
        boxes = found[((found[:, 2] - found[:, 0]) - size).abs() < 1e-3]
        assert len(boxes) and covered(boxes, frame).all()
    assert len(found.unique(dim=0)) == len(found)


# --- parts -----------------------------------------------------------------------------------------------------------


def test_means_inside_by_hand() -> None:
    weight = torch.arange(12.0).view(3, 4)
    boxes = boxes_of((0, 0, 4, 3), (1, 1, 3, 2), (2.4, 0.6, 4, 3), (3, 2, 9, 9), (-5, -5, 1, 1), (2, 1, 2, 3))
    expected = [5.5, 5.5, (6 + 7 + 10 + 11) / 4, 11, 0, 0]
    torch.testing.assert_close(mean_inside(weight, boxes), torch.tensor(expected))
    assert mean_inside(weight, torch.zeros(0, 4)).shape == (0,)


def test_means_inside_of_a_large_map_are_exact() -> None:
    weight = torch.rand(500, 700)
    boxes = boxes_of((3, 7, 650, 480), (690, 490, 700, 500))
    expected = torch.stack([weight[7:480, 3:650].double().mean(), weight[490:, 690:].double().mean()]).float()
    torch.testing.assert_close(mean_inside(weight, boxes), expected)


def test_boxes_pass_their_score_to_all_of_their_tiles() -> None:
    boxes = boxes_of((10, 10, 14, 14), (0, 20, 80, 24))
    found = from_boxes(view(), boxes.numpy(), torch.tensor([0.25, 0.75]))
    assert found.scores.tolist() == [0.25, 0.75, 0.75, 0.75] and found.boxes.shape == (4, 4)


def test_several_contexts_by_hand() -> None:
    boxes = boxes_of((36, 26, 44, 34), (20, 20, 30, 30))
    found = jittered(boxes, RULE, FRAME, [1.0, 2.0, 3.0, 9.0])
    expected = [(32, 22, 48, 38), (17, 17, 33, 33), (32, 22, 48, 38), (15, 15, 35, 35)]
    expected += [(28, 18, 52, 42), (10, 10, 40, 40), (24, 14, 56, 46), (9, 9, 41, 41)]
    torch.testing.assert_close(found, boxes_of(*expected))
    assert jittered(torch.zeros(0, 4), RULE, FRAME, [1.0, 2.0]).shape == (0, 4)
    assert jittered(boxes, RULE, FRAME, []).shape == (0, 4)
