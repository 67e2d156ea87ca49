"""Losses against cases worked out by hand."""

import math

import pytest
import torch
from detectron2.utils import comm

from nightlab.modeling.losses import segmentation_loss

THREE_TO_ONE = torch.tensor([0.0, math.log(3)]).view(1, 2, 1, 1)  # softmax 1/4, 3/4


def test_two_by_two() -> None:
    logits = THREE_TO_ONE.expand(1, 2, 2, 2)
    target = torch.tensor([[[0, 1], [255, 1]]])
    expected = (math.log(4) + 2 * math.log(4 / 3)) / 3
    assert segmentation_loss(logits, target, 255).item() == pytest.approx(expected)


def test_logits_are_resized_to_the_target() -> None:
    # 0 and 4 at the centres of two columns are 0, 1, 3, 4 at those of four.
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 1, 0, 1] = 4
    target = torch.ones(1, 1, 4, dtype=torch.long)
    expected = sum(math.log(1 + math.exp(-x)) for x in (0, 1, 3, 4)) / 4
    assert segmentation_loss(logits, target, 255).item() == pytest.approx(expected)


def test_half_precision_is_summed_in_full() -> None:
    logits = torch.zeros(1, 2, 300, 300, dtype=torch.float16)
    target = torch.zeros(1, 300, 300, dtype=torch.long)
    assert segmentation_loss(logits, target, 255).item() == pytest.approx(math.log(2), rel=1e-4)


def test_a_pixel_counts_as_much_as_its_class_weighs() -> None:
    logits = THREE_TO_ONE.expand(1, 2, 2, 2)
    target = torch.tensor([[[0, 1], [255, 1]]])
    expected = (3 * math.log(4) + 2 * 0.5 * math.log(4 / 3)) / (3 + 2 * 0.5)
    assert segmentation_loss(logits, target, 255, torch.tensor([3.0, 0.5])).item() == pytest.approx(expected)
    assert segmentation_loss(logits, torch.full_like(target, 255), 255, torch.ones(2)).item() == 0


def test_two_questions_are_one_where_classes_weigh_the_same() -> None:
    logits, target = 3 * torch.randn(2, 5, 3, 4), torch.randint(0, 5, (2, 6, 8))
    target[0, :2] = 255
    expected = segmentation_loss(logits, target, 255)
    for hard in ([0, 1, 0, 0, 1], [1, 0, 0, 0, 0], [0] * 5, [1] * 5):
        for layout in (torch.contiguous_format, torch.channels_last):
            loss = segmentation_loss(
                logits.contiguous(memory_format=layout), target, 255, hard=torch.tensor(hard, dtype=torch.bool)
            )
            torch.testing.assert_close(loss, expected)


def test_an_easy_pixel_weighs_one_among_hard_classes_and_as_its_class_among_easy_ones() -> None:
    logits = torch.tensor([1.0, 2, 1]).log().view(1, 3, 1, 1).expand(1, 3, 1, 4)  # 1/4, 1/2, 1/4
    target = torch.tensor([[[0, 1, 2, 255]]])
    weights, hard = torch.tensor([3.0, 0.5, 0.2]), torch.tensor([True, False, False])
    # Hard or easy: 1/4 against 3/4. Of the easy ones: 2/3 and 1/3.
    first = 3 * math.log(4) + 2 * math.log(4 / 3)
    second = 0.5 * math.log(3 / 2) + 0.2 * math.log(3)
    loss = segmentation_loss(logits, target, 255, weights, hard=hard)
    assert loss.item() == pytest.approx((first + second) / (3 + 1 + 1))
    nothing = segmentation_loss(logits, torch.full_like(target, 255), 255, weights, hard=hard)
    assert nothing.item() == 0


def test_nothing_but_ignored_pixels_gives_zero() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((2, 8, 8), 255), 255)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None and torch.equal(logits.grad, torch.zeros_like(logits))


def test_processes_with_unequal_shares_average_to_the_whole_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 3, 4, 4)
    target = torch.randint(0, 3, (2, 4, 4))
    target[0, :3] = 255
    whole = segmentation_loss(logits, target, 255)
    counts = [(target[n] != 255).sum() for n in range(2)]
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x: x.copy_(counts[0] + counts[1]))
    shares = [segmentation_loss(logits[n : n + 1], target[n : n + 1], 255) for n in range(2)]
    torch.testing.assert_close((shares[0] + shares[1]) / 2, whole)


def test_both_memory_layouts_give_the_same() -> None:
    planes = torch.randn(2, 5, 4, 6, dtype=torch.float64, requires_grad=True)
    rows = planes.detach().to(memory_format=torch.channels_last).requires_grad_()
    target, weights = torch.randint(0, 6, (2, 8, 12)), torch.rand(5)
    target[target == 5] = 255
    losses = [segmentation_loss(x, target, 255, weights) for x in (planes, rows)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(planes.grad, rows.grad)
