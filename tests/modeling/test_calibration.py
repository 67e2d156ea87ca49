"""Temperatures and Platt's line where the best ones are known, and what cannot be fitted."""

import math

import pytest
import torch
from torch import nn

from nightlab.modeling.calibration import (
    BUFFERS_OF,
    LEAST_SLOPE,
    TEMPERATURES,
    fit_class_bias,
    fit_platt,
    fit_pool,
    fit_temperature,
    log_odds,
    negative_log_likelihood,
    reset,
)
from nightlab.modeling.merge import pooled


def ninety_percent_sure(right):
    """Ten pixels, each 90 % sure of class 0, of which so many are right."""
    return torch.tensor([[0.9, 0.1]] * 10).log(), torch.tensor([0] * right + [1] * (10 - right))


@pytest.mark.parametrize("right", [6, 8, 9])
def test_the_best_temperature_says_the_share_that_is_right(right):
    log_probabilities, target = ninety_percent_sure(right)
    share = right / 10
    expected = math.log(9) / math.log(share / (1 - share))
    assert fit_temperature(log_probabilities, target) == pytest.approx(expected, rel=1e-4)
    after = negative_log_likelihood(log_probabilities, target, expected)
    assert after == pytest.approx(-share * math.log(share) - (1 - share) * math.log(1 - share))
    assert negative_log_likelihood(log_probabilities, target) >= after


@pytest.mark.parametrize("right, low, high", [(10, TEMPERATURES[0], 0.2), (5, 20, 20), (0, 20, 20)])
def test_temperatures_have_ends(right, low, high):
    assert low <= fit_temperature(*ninety_percent_sure(right)) <= high


def test_no_pixels_no_temperature():
    assert fit_temperature(torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)) == 1


def test_outputs_that_are_not_in_use_do_not_disturb():
    log_probabilities, target = ninety_percent_sure(8)
    with_unused = torch.cat([log_probabilities, torch.full((10, 1), -1e4)], dim=1)
    assert fit_temperature(with_unused, target) == pytest.approx(math.log(9) / math.log(4), rel=1e-4)


def scored(*groups):
    """Scores and truth of 10,000 regions for each (score, share that gains)."""
    scores = torch.cat([torch.full((10000,), score) for score, _ in groups])
    return scores, torch.cat([torch.arange(10000) < 10000 * share for _, share in groups])


def test_the_line_goes_through_what_comes_true():
    slope, offset = fit_platt(*scored((0.8, 0.6), (0.3, 0.1)))
    for score, share in ((0.8, 0.6), (0.3, 0.1)):
        odds = slope * log_odds(torch.tensor(score)) + offset
        assert float(odds.sigmoid()) == pytest.approx(share, abs=1e-3)


def test_scores_that_tell_the_wrong_way_keep_their_order():
    slope, offset = fit_platt(*scored((0.8, 0.2), (0.2, 0.4)))
    assert slope == LEAST_SLOPE
    assert torch.tensor(offset).sigmoid() == pytest.approx(0.3, abs=0.01), "else the share that gains"


def test_scores_that_tell_perfectly_have_a_line():
    slope, offset = fit_platt(*scored((0.9, 1.0), (0.1, 0.0)))
    assert 1 < slope < 20 and abs(offset) < 0.1


@pytest.mark.parametrize("positive", [[True, True], [False, False], []])
def test_one_kind_alone_has_no_line(positive):
    assert fit_platt(torch.full((len(positive),), 0.5), torch.tensor(positive, dtype=torch.bool)) == (1.0, 0.0)


def drawn(prior, number=200_000):
    """Pixels of three classes of these frequencies, what is seen of each (a point in the plane, with noise), and the
    log-probabilities of who knows the points but takes all classes for equally frequent."""
    generator = torch.Generator().manual_seed(0)
    target = torch.multinomial(torch.tensor(prior), number, replacement=True, generator=generator)
    centres = torch.tensor([[0.0, 0], [1, 1], [0, 2]])
    seen = centres[target] + 0.7 * torch.randn(number, 2, generator=generator)
    likelihood = -torch.cdist(seen, centres).square() / (2 * 0.7**2)
    return likelihood.log_softmax(dim=1), (likelihood + torch.tensor(prior).log()).log_softmax(dim=1), target


def test_a_bias_brings_classes_back_to_their_frequency():
    blind, true, target = drawn([0.9, 0.08, 0.02])
    biased = (blind + fit_class_bias(blind, target)).log_softmax(dim=1)
    reached, best, before = (negative_log_likelihood(x, target) for x in (biased, true, blind))
    assert best <= reached < best + 0.01 < before - 0.1


def test_a_class_that_is_not_there_is_not_given_up():
    blind, _, target = drawn([0.9, 0.1, 0.0])
    bias = fit_class_bias(blind, target)
    assert -3 < bias[2] < bias[0] and bias.isfinite().all()


def test_a_pool_finds_who_knows_which_class():
    """One level knows the frequencies and sees nothing; the other sees and takes all classes for equally frequent."""
    sees, best, target = drawn([0.9, 0.08, 0.02])
    knows = torch.tensor([0.9, 0.08, 0.02]).log().expand(len(target), 3)
    pool = fit_pool(knows, sees, target)
    reached = negative_log_likelihood(pooled(knows, sees, pool), target)
    assert reached < negative_log_likelihood(best, target) + 0.01
    neutral = torch.tensor([[1.0], [0]]).expand(2, 3)
    assert torch.allclose(pooled(knows, sees, neutral).exp(), sees.exp(), atol=1e-5)


def test_a_part_gives_its_own_calibration_back():
    model = nn.Module()
    model.detector = nn.Module()
    model.register_buffer("image_temperature", torch.tensor(3.0))
    model.detector.register_buffer("platt", torch.tensor([2.0, 5.0]))
    reset(model, *BUFFERS_OF["detector"], *BUFFERS_OF["region_level"])
    assert model.image_temperature == 3 and model.detector.platt.tolist() == [1, 0]
    reset(model)
    assert model.image_temperature == 1
