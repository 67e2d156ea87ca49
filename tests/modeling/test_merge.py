"""Pasting and merging: three classes by hand, ramps, a slow twin that goes pixel by pixel, what never changes."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nightlab.modeling.merge import RULES, MergeRule, Pasted, fuse, in_use, merge, paste, resample
from nightlab.modeling.regions import crop_and_zoom

SIZE = (18, 24)
UNUSED = -1e4  # what the region level says of outputs that are not in use
HARD = torch.tensor([False, False, True])  # of three classes
ALL = torch.ones(3, dtype=torch.bool)
BOXES = torch.tensor([[2, 3, 12, 11], [8.3, 5.1, 19.7, 16.4], [-4, -3, 6, 5], [18, 10, 30, 25.0], [9.2, 6.2, 9.8, 6.8]])


def log_maps(classes: int = 3, size: tuple[int, int] = SIZE) -> Tensor:
    """Random log-probabilities `[K, H, W]`."""
    return (3 * torch.randn(classes, *size)).log_softmax(dim=0)


def masked(logits: Tensor, used: Tensor) -> Tensor:
    """Region logits as the region level gives them: outputs that are not in use are far below the others."""
    outputs = torch.cat([used, ~used.all()[None]])
    return logits.masked_fill(~outputs[:, None, None], UNUSED)


def region_logits(boxes: Tensor, used: Tensor, shape: tuple[int, int] = (7, 9)) -> Tensor:
    return masked(3 * torch.randn(len(boxes), len(used) + 1, *shape), used)


def constant(probabilities: list[float], boxes: int = 1, shape: tuple[int, int] = (4, 5)) -> Tensor:
    """Logits that say the same everywhere; probability 0 stands for an output that is not in use."""
    logits = torch.tensor([math.log(p) if p else UNUSED for p in probabilities])
    return logits.view(1, -1, 1, 1).expand(boxes, -1, *shape).contiguous()


def pasted_in_use(logits: Tensor, boxes: Tensor, used: Tensor, size: tuple[int, int] = SIZE) -> Pasted:
    return paste(in_use(logits, used.tolist()), boxes, size)


def both(
    image: Tensor,
    logits: Tensor,
    boxes: Tensor,
    used: Tensor,
    rule: str = "posterior",
    size: tuple[int, int] = SIZE,
    hard: list[bool] | None = None,
) -> Tensor:
    """The image level's map and the region level's K + 1 outputs, merged."""
    return merge(image, pasted_in_use(logits, boxes, used, size), MergeRule(used.tolist(), rule, hard))


def inside(box: Tensor, size: tuple[int, int] = SIZE) -> Tensor:
    """Which pixels have their centre in a box, bool `[H, W]`."""
    x0, y0, x1, y1 = box.tolist()
    y, x = torch.arange(size[0]) + 0.5, torch.arange(size[1]) + 0.5
    return ((y >= y0) & (y < y1))[:, None] & ((x >= x0) & (x < x1))


# --- pasting --------------------------------------------------------------------------------------------------------


def twin(logits: Tensor, boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """`paste` pixel by pixel, in float64."""
    total = torch.zeros(logits.shape[1], *size, dtype=torch.float64)
    covered = torch.zeros(size, dtype=torch.bool)
    height, width = logits.shape[-2:]
    for row in range(size[0]):
        for column in range(size[1]):
            weights = 0.0
            for crop, (x0, y0, x1, y1) in zip(logits.double(), boxes.double().tolist(), strict=True):
                y, x = (row + 0.5 - y0) / (y1 - y0), (column + 0.5 - x0) / (x1 - x0)
                if not (0 <= y < 1 and 0 <= x < 1):
                    continue
                across = [between(crop[:, i], x * width) for i in range(height)]
                posterior = between(torch.stack(across, dim=1), y * height).softmax(dim=0)
                weight = max(min(y, 1 - y) * min(x, 1 - x), 1e-6)
                total[:, row, column] += weight * posterior
                weights += weight
            if weights:
                total[:, row, column] /= weights
                covered[row, column] = True
    return total, covered


def between(values: Tensor, position: float) -> Tensor:
    """`[C, n]` at a position (centres at i + 0.5): on the line through the two nearest centres."""
    length = values.shape[1]
    if length == 1:
        return values[:, 0]
    first = min(max(math.floor(position - 0.5), 0), length - 2)
    return values[:, first] + (position - 0.5 - first) * (values[:, first + 1] - values[:, first])


@pytest.mark.parametrize("shape", [(7, 9), (2, 3), (1, 1), (1, 6), (30, 25)])
def test_pasting_equals_its_slow_twin(shape: tuple[int, int]) -> None:
    logits = 3 * torch.randn(len(BOXES), 4, *shape)
    pasted = paste(logits, BOXES, SIZE)
    expected, covered = twin(logits, BOXES, SIZE)
    assert torch.equal(pasted.covered, covered)
    torch.testing.assert_close(pasted.probability, expected.float(), atol=1e-5, rtol=0)


def test_covered_are_the_pixels_with_their_centre_inside() -> None:
    pasted = paste(torch.zeros(1, 4, 5, 5), torch.tensor([[2.5, 3.4, 6.5, 7.6]]), SIZE)
    expected = torch.zeros(SIZE, dtype=torch.bool)
    expected[3:8, 2:6] = True  # columns 2.5, 3.5, ... 5.5: a centre on the left border is in, on the right one is out
    assert torch.equal(pasted.covered, expected)
    assert (pasted.probability[:, ~expected] == 0).all()
    assert (pasted.probability[:, expected] == 0.25).all()


@pytest.mark.parametrize("shape", [(4, 5), (8, 10), (16, 20), (21, 13), (2, 2)])
@pytest.mark.parametrize("box", [(2, 3, 12, 11), (0, 0, 24, 18), (14.3, 7.9, 24, 18), (0.2, 0.4, 5.5, 9.3)])
def test_a_ramp_of_the_map_survives_cutting_and_pasting(box: tuple, shape: tuple[int, int]) -> None:
    y, x = torch.arange(18) + 0.5, torch.arange(24) + 0.5
    frame = torch.stack([torch.zeros(SIZE), 0.3 * y[:, None] - 0.2 * x])  # log-odds of the two outputs
    boxes = torch.tensor([box], dtype=torch.float32)
    probability, covered = paste(crop_and_zoom(frame, boxes, shape), boxes, SIZE)
    odds = (probability[1] / probability[0]).log()
    assert torch.equal(covered, inside(boxes[0]))
    torch.testing.assert_close(odds[covered], frame[1][covered], atol=1e-4, rtol=0)


def test_zoom_one_pastes_the_logits_themselves() -> None:
    logits = 3 * torch.randn(1, 4, 8, 10)
    probability, _ = paste(logits, torch.tensor([[2.0, 3, 12, 11]]), SIZE)
    torch.testing.assert_close(probability[:, 3:11, 2:12], logits[0].softmax(dim=0), atol=1e-5, rtol=0)


def test_a_crop_pastes_into_maps_of_any_size() -> None:
    """Where the output has twice the frame's size, boxes are twice as large and the ramp is as it was."""
    logits = torch.stack([torch.zeros(6, 6), torch.arange(6.0).expand(6, 6)])[None]
    small = paste(logits, torch.tensor([[2.0, 2, 8, 8]]), (10, 10)).probability
    large = paste(logits, torch.tensor([[4.0, 4, 16, 16]]), (20, 20)).probability
    odds = [(p[1] / p[0]).log() for p in (small, large)]
    torch.testing.assert_close(odds[0][4, 2:8], torch.arange(6.0), atol=1e-4, rtol=0)
    torch.testing.assert_close(odds[1][9, 4:16], torch.arange(12.0) / 2 - 0.25, atol=1e-4, rtol=0)


def test_resampling_by_hand() -> None:
    image = torch.tensor([[[0.0, 4.0], [10.0, 14.0]]])
    found = resample(image, torch.tensor([0.0, 0.5, 1.0]), torch.tensor([0.25, 0.5, 1.0]))
    assert found.tolist() == [[[-5, -3, 1], [5, 7, 11], [15, 17, 21]]]


def test_identical_boxes_average() -> None:
    logits = torch.cat([constant([0.5, 0.3, 0.1, 0.1]), constant([0.1, 0.3, 0.5, 0.1])])
    boxes = torch.tensor([[4.0, 4, 12, 10]] * 2)
    probability, covered = paste(logits, boxes, SIZE)
    expected = torch.tensor([0.3, 0.3, 0.3, 0.1])[:, None].expand(4, int(covered.sum()))
    torch.testing.assert_close(probability[:, covered], expected)


def test_overlaps_weigh_by_the_distance_to_the_border() -> None:
    # In the row's middle the first box has weights 1/8, 3/8, 3/8, 1/8 and the second starts two pixels later.
    logits = torch.cat([constant([0.8, 0.2]), constant([0.4, 0.6])])
    probability, _ = paste(logits, torch.tensor([[0.0, 0, 4, 1], [2, 0, 6, 1]]), (1, 8))
    expected = [0.8, 0.8, (3 * 0.8 + 0.4) / 4, (0.8 + 3 * 0.4) / 4, 0.4, 0.4, 0, 0]
    torch.testing.assert_close(probability[0, 0], torch.tensor(expected))


def test_an_overlap_lies_between_its_regions_and_sums_to_one() -> None:
    logits = region_logits(BOXES, HARD)
    alone = [paste(logits[i : i + 1], BOXES[i : i + 1], SIZE) for i in range(len(BOXES))]
    together = paste(logits, BOXES, SIZE)
    both = alone[0].covered & alone[1].covered & ~alone[2].covered & ~alone[4].covered
    assert both.any()
    pair = torch.stack([alone[0].probability, alone[1].probability])[..., both]
    assert (together.probability[:, both] <= pair.amax(0) + 1e-6).all()
    assert (together.probability[:, both] >= pair.amin(0) - 1e-6).all()
    total = together.probability.sum(dim=0)
    torch.testing.assert_close(total, together.covered.float(), atol=1e-5, rtol=0)


@given(seed=st.integers(0, 10**6), number=st.integers(2, 8))
def test_the_order_makes_no_difference(seed: int, number: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(number, 2, generator=generator) * 12
    boxes = torch.cat([corner, corner + 2 + 10 * torch.rand(number, 2, generator=generator)], dim=1)
    logits = torch.randn(number, 4, 5, 5, generator=generator)
    order = torch.randperm(number, generator=generator)
    one, other = paste(logits, boxes, SIZE), paste(logits[order], boxes[order], SIZE)
    assert torch.equal(one.probability, other.probability) and torch.equal(one.covered, other.covered)


def test_the_order_makes_no_difference_among_equal_boxes() -> None:
    boxes = torch.tensor([[0.0, 0, 16, 12], [2, 1, 20, 17], [2, 1, 20, 17], [2, 1, 20, 17], [2, 1, 20, 18]])
    logits = 3 * torch.randn(5, 4, 6, 6)
    first = paste(logits, boxes, SIZE)
    for order in ([0, 2, 1, 3, 4], [4, 3, 2, 1, 0], [3, 0, 1, 4, 2]):
        assert torch.equal(paste(logits[order], boxes[order], SIZE).probability, first.probability)


@pytest.mark.parametrize(
    "box",
    [
        (-50, -50, 100, 90),  # the whole map and more
        (-5, -5, 3, 3),
        (20, 15, 40, 33),
        (30, 3, 40, 8),  # beside it
        (-9, -9, -2, -2),
        (5, 24, 9, 30),
        (4.6, 4.6, 5.4, 5.4),  # no centre inside
        (4, 4, 4, 9),  # no area
        (9, 9, 4, 4),
        (4.5, 4.5, 4.6, 4.6),  # one centre, on the corner
        (5, 5, 6, 6),
    ],
)
def test_boxes_anywhere(box: tuple[float, float, float, float]) -> None:
    boxes = torch.tensor([box], dtype=torch.float32)
    probability, covered = paste(region_logits(boxes, HARD), boxes, SIZE)
    assert torch.equal(covered, inside(boxes[0]))
    torch.testing.assert_close(probability.sum(dim=0), covered.float(), atol=1e-5, rtol=0)


def test_half_precision_logits_are_averaged_in_single_precision() -> None:
    logits = region_logits(BOXES, HARD)
    pasted = paste(logits.half(), BOXES, SIZE)
    assert pasted.probability.dtype == torch.float32
    torch.testing.assert_close(pasted.probability, paste(logits, BOXES, SIZE).probability, atol=1e-2, rtol=0)


# --- merging --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [HARD, ALL, torch.zeros(3, dtype=torch.bool)])
@pytest.mark.parametrize("rule", RULES)
def test_no_boxes_give_the_image_level_itself(rule: str, used: Tensor) -> None:
    image = log_maps()
    for logits in (torch.zeros(0, 4, 7, 9), torch.zeros(0, 4, 1, 1)):
        assert torch.equal(both(image, logits, torch.zeros(0, 4), used, rule), image)


def one_pixel(
    image: list[float],
    region: list[float],
    used: list[bool],
    rule: str = "posterior",
    hard: list[bool] | None = None,
) -> list[float]:
    """Merged probabilities of a map of one pixel that a region covers."""
    logits = torch.tensor(image).log().view(-1, 1, 1)
    box = torch.tensor([[-1.0, -1, 2, 2]])
    return both(logits, constant(region), box, torch.tensor(used), rule, (1, 1), hard).exp().flatten().tolist()


def test_posterior_merge_by_hand() -> None:
    # Class 2 is the region level's: 0.6. What it gives to other, 0.4, is shared as 0.5 : 0.3.
    found = one_pixel([0.5, 0.3, 0.2], [0, 0, 0.6, 0.4], [False, False, True])
    assert found == pytest.approx([0.25, 0.15, 0.6], abs=1e-6)
    found = one_pixel([0.5, 0.3, 0.2], [0.7, 0, 0.1, 0.2], [True, False, True])
    assert found == pytest.approx([0.7, 0.2, 0.1], abs=1e-6)
    # All classes in use and hard: the region level's own.
    found = one_pixel([0.5, 0.3, 0.2], [0.1, 0.2, 0.7, 0], [True, True, True])
    assert found == pytest.approx([0.1, 0.2, 0.7], abs=1e-6)


def test_both_levels_share_out_the_easy_classes_that_both_know() -> None:
    # Class 2 is hard: 0.7 by the region level. The 0.3 that are left are 5 : 3 to the image level, 1 : 2 to the other.
    image, region, every = [0.5, 0.3, 0.2], [0.1, 0.2, 0.7, 0], [True] * 3
    expected = [0.3 * (0.625 + 1 / 3) / 2, 0.3 * (0.375 + 2 / 3) / 2, 0.7]
    assert one_pixel(image, region, every, hard=HARD.tolist()) == pytest.approx(expected, abs=1e-6)
    # One hard class between easy ones.
    found = one_pixel([0.5, 0.2, 0.3], [0.1, 0.7, 0.2, 0], every, hard=[False, True, False])
    assert found == pytest.approx([expected[0], 0.7, expected[1]], abs=1e-6)
    # The paper's replacement takes the region level's word for all of them.
    assert one_pixel(image, region, every, "replace", HARD.tolist()) == pytest.approx([0.1, 0.2, 0.7], abs=1e-6)
    half = [(p + q) / 2 for p, q in zip(expected, image, strict=True)]
    assert one_pixel(image, region, every, "average", HARD.tolist()) == pytest.approx(half, abs=1e-6)


@pytest.mark.parametrize("used", [HARD, ~HARD])
def test_what_is_hard_makes_no_difference_where_the_region_level_answers_for_that_alone(used: Tensor) -> None:
    image, logits = log_maps(), region_logits(BOXES, used)
    for rule in RULES:
        expected = both(image, logits, BOXES, used, rule)
        assert torch.equal(both(image, logits, BOXES, used, rule, hard=used.tolist()), expected)


def test_the_average_by_hand() -> None:
    # Half of [0.5, 0.3, 0.2] and half of the posterior merge, [0.25, 0.15, 0.6].
    found = one_pixel([0.5, 0.3, 0.2], [0, 0, 0.6, 0.4], [False, False, True], "average")
    assert found == pytest.approx([0.375, 0.225, 0.4], abs=1e-6)


def test_the_image_level_may_be_sure_of_a_hard_class() -> None:
    found = one_pixel([3e-30, 1e-30, 1.0], [0, 0, 0.1, 0.9], [False, False, True])
    assert found == pytest.approx([0.675, 0.225, 0.1], abs=1e-5)


def test_replacement_by_hand() -> None:
    image, hard = [0.5, 0.3, 0.2], [False, False, True]
    assert one_pixel(image, [0, 0, 0.4, 0.6], hard, "replace") == pytest.approx(image)  # it says other
    found = one_pixel(image, [0, 0, 0.6, 0.4], hard, "replace")  # it names class 2
    assert found == pytest.approx([0.25, 0.15, 0.6], abs=1e-6)
    # With all K classes it always names one.
    found = one_pixel([0.9, 0.05, 0.05], [0.3, 0.4, 0.3, 0], [True] * 3, "replace")
    assert found == pytest.approx([0.3, 0.4, 0.3], abs=1e-6)


def test_replacement_names_what_the_region_level_names() -> None:
    used = torch.tensor([True, False, False, True, False])
    image, logits = log_maps(5), region_logits(BOXES, used)
    pasted = paste(logits, BOXES, SIZE)
    answer = pasted.probability.argmax(dim=0)
    expected = torch.where(pasted.covered & (answer < 5), answer, image.argmax(dim=0))
    assert torch.equal(both(image, logits, BOXES, used, "replace").argmax(dim=0), expected)
    assert 0 < (expected != image.argmax(dim=0)).sum() < pasted.covered.sum()


@pytest.mark.parametrize("rule", ["posterior", "replace"])
def test_replacement_with_all_classes_is_the_region_level_inside_its_boxes(rule: str) -> None:
    image, logits = log_maps(), region_logits(BOXES, ALL)
    pasted = pasted_in_use(logits, BOXES, ALL)
    merged = merge(image, pasted, MergeRule([True] * 3, rule))
    assert torch.equal(merged.argmax(dim=0)[pasted.covered], pasted.probability[:3].argmax(dim=0)[pasted.covered])
    torch.testing.assert_close(merged.exp()[:, pasted.covered], pasted.probability[:3, pasted.covered])


@pytest.mark.parametrize(
    "used, hard",
    [
        *(([int(c) for c in used], None) for used in ("0001", "1010", "1110", "1111", "0000")),
        *(([1, 1, 1, 1], [c == "1" for c in hard]) for hard in ("0001", "1010", "0110", "1111", "0000")),
    ],
)
@pytest.mark.parametrize("rule", RULES)
def test_what_holds_for_all_merges(rule: str, used: list[int], hard: list[bool] | None) -> None:
    mask = torch.tensor(used, dtype=torch.bool)
    image, logits = log_maps(4), region_logits(BOXES, mask)
    merged = both(image, logits, BOXES, mask, rule, hard=hard)
    assert merged.dtype == image.dtype and merged.shape == image.shape
    assert torch.isfinite(merged).all()
    torch.testing.assert_close(merged.exp().sum(dim=0), torch.ones(SIZE), atol=1e-5, rtol=0)
    outside = ~torch.stack([inside(box) for box in BOXES]).any(dim=0)
    assert outside.any() and torch.equal(merged[:, outside], image[:, outside])
    # The remaining classes keep their proportions.
    rest = ~mask
    shares = [x[rest].log_softmax(dim=0) for x in (merged, image)]
    torch.testing.assert_close(shares[0], shares[1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("rule", RULES)
def test_no_class_in_use_changes_nothing(rule: str) -> None:
    none = torch.zeros(3, dtype=torch.bool)
    image = log_maps()
    assert torch.equal(both(image, region_logits(BOXES, none), BOXES, none, rule), image)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("used", [HARD, ALL])
def test_the_merge_does_not_depend_on_the_order(rule: str, used: Tensor) -> None:
    image, logits = log_maps(), region_logits(BOXES, used)
    expected = both(image, logits, BOXES, used, rule)
    for _ in range(5):
        order = torch.randperm(len(BOXES))
        assert torch.equal(both(image, logits[order], BOXES[order], used, rule), expected)


@pytest.mark.parametrize("rule", RULES)
def test_outputs_in_use_may_be_far_below_the_others(rule: str) -> None:
    image = log_maps()
    logits = region_logits(BOXES, HARD)
    logits[:, 2] = UNUSED  # in use, and never the answer
    merged = both(image, logits, BOXES, HARD, rule)
    assert torch.isfinite(merged).all()
    torch.testing.assert_close(merged.exp().sum(dim=0), torch.ones(SIZE), atol=1e-5, rtol=0)
    assert (merged.argmax(dim=0) != 2)[inside(BOXES[0])].all() or rule != "posterior"
    logits = masked(torch.full_like(logits, UNUSED), ALL)  # all of them: nothing is known
    assert torch.isfinite(both(image, logits, BOXES, ALL, rule)).all()


def test_merging_leaves_its_arguments_alone() -> None:
    image, logits, boxes = log_maps(), region_logits(BOXES, HARD), BOXES.clone()
    before = image.clone(), logits.clone()
    pasted = pasted_in_use(logits, boxes, HARD)
    kept = Pasted(pasted.probability.clone(), pasted.covered.clone())
    merge(image, pasted, MergeRule(HARD.tolist(), "replace"))
    assert torch.equal(image, before[0]) and torch.equal(logits, before[1]) and torch.equal(boxes, BOXES)
    assert torch.equal(pasted.probability, kept.probability) and torch.equal(pasted.covered, kept.covered)


def test_a_rule_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"sum.*posterior, average, replace"):
        both(log_maps(), region_logits(BOXES, HARD), BOXES, HARD, "sum")


# --- merging crops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("used", [HARD, ALL, ~HARD])
def test_fused_crops_are_distributions_by_the_same_formula(used: Tensor) -> None:
    image = torch.stack([log_maps(size=(4, 6)), log_maps(size=(4, 6))])
    region = region_logits(torch.zeros(2, 4), used, (4, 6)).log_softmax(dim=1)
    fused = fuse(image, in_use(region.exp(), used.tolist()), MergeRule(used.tolist()))
    p, r = image.exp(), region.exp()
    expected = r[:, 3:] * p / p[:, ~used].sum(dim=1, keepdim=True)
    expected[:, used] = r[:, :3][:, used]
    assert not fused.isnan().any()
    torch.testing.assert_close(fused.exp(), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(fused.exp().sum(dim=1), torch.ones(2, 4, 6), atol=1e-5, rtol=0)


def test_a_fused_crop_is_what_the_merge_pastes() -> None:
    image, logits = log_maps(), region_logits(torch.zeros(1, 4), HARD, SIZE)
    whole = torch.tensor([[0.0, 0, SIZE[1], SIZE[0]]])
    merged = both(image, logits, whole, HARD)
    fused = fuse(image[None], in_use(logits.softmax(dim=1), HARD.tolist()), MergeRule(HARD.tolist()))
    torch.testing.assert_close(merged, fused[0], atol=1e-4, rtol=0)
