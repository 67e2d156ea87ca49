"""The region level: what it takes over from the image level, which outputs it uses, and what its losses count."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from nightlab.modeling import Segmentor
from nightlab.modeling.region_level import RegionLevel

from .contracts import pointwise_segmentor, shake, tiny_config

K = 5
HARD = torch.tensor([False, True, False, True, False])


def region_level(used: Tensor = HARD, **arguments: Any) -> RegionLevel:
    """On single places, and with these classes in use."""
    level = RegionLevel(segmentor=pointwise_segmentor(K + 1), num_classes=K, all_classes=False, **arguments)
    level.used.copy_(used)
    return level


def crops(number: int = 2) -> Tensor:
    return 255 * torch.rand(number, 3, 8, 12)


# --- taking over -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def levels() -> tuple[Segmentor, RegionLevel]:
    """An image level with norms that matter, and a region level that has taken it over."""
    torch.manual_seed(0)
    cfg = tiny_config("MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", "[1, 2, 3, 4, 5]")
    image_level, region = Segmentor(cfg), RegionLevel(cfg)
    shake(image_level)
    region.start_from(image_level, HARD)
    return image_level, region


def test_every_tensor_is_taken_over(levels: tuple[Segmentor, RegionLevel]) -> None:
    image_level, region = levels
    theirs, mine = image_level.state_dict(), region.segmentor.state_dict()
    assert list(mine) == list(theirs)
    larger = {name for name in mine if mine[name].shape != theirs[name].shape}
    heads = ("decode_head.classifier", "aux_head.classifier")
    assert larger == {f"{head}.{what}" for head in heads for what in ("weight", "bias")}
    for name, tensor in theirs.items():
        assert torch.equal(mine[name][: len(tensor)] if name in larger else mine[name], tensor), name
        if name in larger:
            torch.testing.assert_close(mine[name][K:], tensor[[0, 2, 4]].mean(0, keepdim=True))
    assert torch.equal(region.used, HARD)


def test_it_starts_where_the_image_level_is(levels: tuple[Segmentor, RegionLevel]) -> None:
    image_level, region = levels
    images = 255 * torch.rand(1, 3, 32, 40)
    with torch.no_grad():
        expected, found = image_level.eval()(images).logits, region.eval()(images).logits
    torch.testing.assert_close(found[:, [1, 3]], expected[:, [1, 3]])
    torch.testing.assert_close(found[:, K], expected[:, [0, 2, 4]].mean(dim=1), rtol=1e-4, atol=1e-5)


def test_the_image_level_is_left_alone() -> None:
    image_level, region = pointwise_segmentor(K), region_level()
    region.start_from(image_level, HARD)
    before = image_level.decode_head.classifier.weight.clone()
    with torch.no_grad():
        for parameter in region.parameters():
            parameter += 1
    assert torch.equal(image_level.decode_head.classifier.weight, before)


@pytest.mark.parametrize("hard", [torch.ones(K, dtype=torch.bool), torch.zeros(K, dtype=torch.bool)])
def test_where_nothing_or_everything_is_hard_other_is_the_mean_of_all(hard: Tensor) -> None:
    image_level, region = pointwise_segmentor(K), region_level()
    region.start_from(image_level, hard)
    weight = image_level.decode_head.classifier.weight
    torch.testing.assert_close(region.segmentor.decode_head.classifier.weight[K], weight.mean(dim=0))
    assert torch.equal(region.used, hard)


def test_all_classes_are_used_where_the_configuration_says_so() -> None:
    region = RegionLevel(tiny_config("MODEL.REGION.CLASSES", "all"))
    assert region.all_classes and region.segmentor.class_weights is None
    region = RegionLevel(segmentor=pointwise_segmentor(K + 1), num_classes=K, all_classes=True)
    region.start_from(pointwise_segmentor(K), HARD)
    assert region.used.all()


def test_used_is_part_of_the_checkpoint() -> None:
    other = region_level(torch.zeros(K, dtype=torch.bool))
    other.load_state_dict(region_level().state_dict())
    assert torch.equal(other.used, HARD)


# --- outputs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "outputs"),
    [
        (HARD, [1, 3, 5]),
        (torch.ones(K, dtype=torch.bool), [0, 1, 2, 3, 4]),  # nothing is left for *other*
        (torch.zeros(K, dtype=torch.bool), [5]),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_outputs_that_are_not_used_get_no_probability(used: Tensor, outputs: list[int], dtype: torch.dtype) -> None:
    level = region_level(used).to(dtype)
    with torch.no_grad():
        level.segmentor.decode_head.classifier.bias[:] = torch.tensor([9.0, 1, 2, 3, 4, 8])
        logits = level(crops().to(dtype)).logits.float()
    assert torch.isfinite(logits).all()
    for size in ((2, 3), (5, 7)):
        probability = F.interpolate(logits, size=size, mode="bilinear", align_corners=False).softmax(dim=1)
        assert (probability.amax(dim=(0, 2, 3)) > 0).nonzero().flatten().tolist() == outputs


def test_auxiliary_outputs_are_masked_alike(levels: tuple[Segmentor, RegionLevel]) -> None:
    level = copy.deepcopy(levels[1])
    output = level.train()(255 * torch.rand(2, 3, 32, 32))
    for logits in (output.logits, output.aux_logits):
        assert (logits[:, [0, 2, 4]] == -1e4).all() and (logits[:, [1, 3, 5]] > -1e3).all()
    assert level.eval()(255 * torch.rand(2, 3, 32, 32)).aux_logits is None


# --- losses ----------------------------------------------------------------------------------------------------------

CLASSES = torch.tensor([0, 1, 2, 3, 4, 1, 3, 255])


def by_hand(level: RegionLevel, output: Any, target: Tensor, answers: dict[int, int], weights: list[float]) -> float:
    """The weighted mean of -log p of each pixel's answer, p over the outputs that occur in `answers`."""
    logits = F.interpolate(output.logits, size=target.shape[1:], mode="bilinear", align_corners=False)
    allowed = sorted(set(answers.values()))
    log_p = logits[:, allowed].log_softmax(dim=1).detach()
    total = weight = 0.0
    for n, y, x in (target != 255).nonzero().tolist():
        answer = answers[int(target[n, y, x])]
        total -= weights[answer] * float(log_p[n, allowed.index(answer), y, x])
        weight += weights[answer]
    return total / weight


@pytest.mark.parametrize("weights", [[1.0] * 6, [7.0, 2.0, 7.0, 3.0, 7.0, 0.5]])
@pytest.mark.parametrize(
    ("used", "answers"),
    [(HARD, {0: 5, 1: 1, 2: 5, 3: 3, 4: 5}), (torch.ones(K, dtype=torch.bool), {k: k for k in range(K)})],
)
def test_losses_by_hand(used: Tensor, answers: dict[int, int], weights: list[float]) -> None:
    level = region_level(used)
    if weights != [1.0] * 6:
        level.segmentor.class_weights = torch.tensor(weights)
    target = CLASSES[torch.randint(0, 8, (2, 8, 12))]
    output = level(crops())
    losses = level.losses(output, target)
    assert list(losses) == ["loss_sem_seg"]
    assert losses["loss_sem_seg"].item() == pytest.approx(by_hand(level, output, target, answers, weights), rel=1e-4)


def test_class_weights_of_a_configuration_give_other_weight_one(levels: tuple[Segmentor, RegionLevel]) -> None:
    image_level, region = levels
    assert region.segmentor.class_weights.tolist() == [1, 2, 3, 4, 5, 1]
    assert image_level.class_weights.tolist() == [1, 2, 3, 4, 5]
    assert not region.all_classes


def test_targets_are_left_as_they_are_and_strange_ones_ignored() -> None:
    level = region_level()
    output = level(crops(1))
    target = torch.randint(0, K, (1, 8, 12))
    target[0, 0, :4] = torch.tensor([255, -1, K, 200])
    before = target.clone()
    plain = target.where((target >= 0) & (target < K), 255)
    assert level.losses(output, target) == level.losses(output, plain)
    assert torch.equal(target, before)


def test_no_hard_class_leaves_nothing_to_learn() -> None:
    level = region_level(torch.zeros(K, dtype=torch.bool))
    loss = level.losses(level(crops()), torch.randint(0, K, (2, 8, 12)))["loss_sem_seg"]
    loss.backward()
    assert loss == 0
    assert all(torch.equal(p.grad, torch.zeros_like(p)) for p in level.parameters())


@pytest.mark.parametrize("weighted", [False, True])
def test_nothing_but_ignored_pixels(levels: tuple[Segmentor, RegionLevel], weighted: bool) -> None:
    level = copy.deepcopy(levels[1]).train()
    if not weighted:
        level.segmentor.class_weights = None
    losses = level.losses(level(255 * torch.rand(1, 3, 36, 32)), torch.full((1, 36, 32), 255))
    assert losses.keys() == {"loss_sem_seg", "loss_aux"} and all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None and (p.grad == 0).all() for p in level.parameters())


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_what_it_should() -> None:
    level = region_level()
    logits = torch.zeros(1, K + 1, 2, 3)
    logits[:, 1] = 50
    output = level(crops(1))
    output = output._replace(logits=level._mask(logits))
    for answer, cost in ((1, 0.0), (3, 50.0), (0, 50.0), (4, 50.0)):
        loss = level.losses(output, torch.full((1, 8, 12), answer))["loss_sem_seg"].item()
        assert loss == pytest.approx(cost, abs=1e-4), answer
    even = output._replace(logits=level._mask(torch.zeros(1, K + 1, 2, 3)))
    assert level.losses(even, torch.zeros(1, 8, 12, dtype=torch.long))["loss_sem_seg"].item() == pytest.approx(
        math.log(3)
    )


def test_unused_outputs_are_not_trained() -> None:
    level = region_level()
    level.losses(level(crops()), torch.randint(0, K, (2, 8, 12)))["loss_sem_seg"].backward()
    grad = level.segmentor.decode_head.classifier.weight.grad
    assert (grad[[0, 2, 4]] == 0).all() and (grad[[1, 3, 5]] != 0).all()
