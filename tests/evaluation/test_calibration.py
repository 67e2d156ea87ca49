"""The expected calibration error by hand, from parts, and against torchmetrics."""

import math

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from nightlab.evaluation.calibration import BINS, as_json, bin_counts, expected_error, sampled_counts


def test_by_hand():
    confidence = torch.tensor([[0.9, 0.9, 0.5], [1.0, 0.2, 0.7]])
    right = torch.tensor([[True, False, True], [True, True, False]])
    counted = torch.tensor([[True, True, True], [True, False, False]])
    counts = bin_counts(confidence, right, counted).numpy()
    # 0.9 x 15 is 13.5, 0.5 x 15 is 7.5; certainty belongs to the last bin.
    assert {place: counts[:, place].round(6).tolist() for place in np.flatnonzero(counts[2])} == {
        7: [0.5, 1, 1],
        13: [1.8, 1, 2],
        14: [1.0, 1, 1],
    }
    assert expected_error(counts) == pytest.approx((0.5 + 0.8 + 0) / 4)
    written = as_json(counts)
    assert written["confidence_sum"][13] == 1.8 and written["right"][13] == 1 and written["pixels"][13] == 2


def test_nothing_counted_has_no_error():
    assert math.isnan(expected_error(np.zeros((3, BINS))))


def test_of_random_posteriors_as_torchmetrics():
    log_probabilities = (3 * torch.randn(500, 6)).log_softmax(dim=1)
    target = torch.randint(0, 6, (500,))
    expected = multiclass_calibration_error(log_probabilities.exp(), target, num_classes=6, n_bins=BINS, norm="l1")
    assert expected_error(sampled_counts(log_probabilities, target)) == pytest.approx(float(expected), abs=1e-5)


def test_a_temperature_leaves_what_is_right():
    log_probabilities, target = (3 * torch.randn(200, 4)).log_softmax(dim=1), torch.randint(0, 4, (200,))
    plain, tempered = (sampled_counts(log_probabilities, target, t) for t in (1.0, 2.5))
    assert plain[1].sum() == tempered[1].sum() and plain[0].sum() > tempered[0].sum()
