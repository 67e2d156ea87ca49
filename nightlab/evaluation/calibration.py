"""How far confidence can be trusted: counts per bin of confidence, and the expected calibration error from them.

Counts `[3, B]` hold for each of B equal-width bins the sum of the confidences in it, how many pixels were right, and
how many there are; counts of images add up.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

BINS = 15


def bin_counts(confidence: Tensor, right: Tensor, counted: Tensor) -> Tensor:
    """float64 `[3, BINS]` of confidences in 0...1 over the pixels that are `counted`; all of one shape, on any device.

    A confidence on the border of two bins belongs to the upper one.
    """
    place = (confidence * BINS).long().clamp(0, BINS - 1)
    # Pixels that do not count go into a bin of their own, which is cut off: no data-dependent shape, no wait.
    place = torch.where(counted, place, BINS).flatten()
    values = torch.stack([confidence.double(), right.double(), torch.ones_like(confidence, dtype=torch.float64)])
    sums = values.new_zeros(3, BINS + 1).scatter_add_(1, place.expand(3, -1), values.flatten(1))
    return sums[:, :BINS]


def expected_error(counts: np.ndarray) -> float:
    """Expected calibration error in 0...1 of counts `[3, B]`: how far confidence is from the share that is right, in
    the mean over pixels; NaN without any."""
    confidence, right, number = counts
    total = number.sum()
    return float(np.abs(confidence - right).sum() / total) if total else math.nan


def as_json(counts: np.ndarray) -> dict[str, Any]:
    """Counts as an evaluation's file has them, from which `expected_error` follows."""
    confidence, right, number = counts
    return {
        "confidence_sum": [round(float(value), 3) for value in confidence],
        "right": [int(value) for value in right],
        "pixels": [int(value) for value in number],
    }


def sampled_counts(log_probabilities: Tensor, target: Tensor, temperature: float = 1.0) -> np.ndarray:
    """Counts of sampled pixels, log-probabilities `[N, K]` and their classes `[N]`, after division by a temperature."""
    confidence, prediction = (log_probabilities.double() / temperature).softmax(dim=1).max(dim=1)
    return bin_counts(confidence, prediction == target, torch.ones_like(target, dtype=torch.bool)).numpy()
