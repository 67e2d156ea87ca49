"""Bootstrap intervals over images for mIoU, of one evaluation and of the difference of two on the same images."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nightlab.errors import InputError
from nightlab.evaluation.metrics import mean_iou


class Interval(NamedTuple):
    """A figure in percent and the bounds of its percentile interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def interval_of_mean(
    seeds: Sequence[np.ndarray],
    minus: Sequence[np.ndarray] = (),
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean over seeds of mIoU, or its difference to that of another variant, with images drawn with replacement.

    Args:
        seeds: per-image counts `[N, 3, K]` (see metrics.py) of each seed of a variant.
        minus: the same for the variant to subtract, over the same images; every resample draws the same images for
            all, so that the interval is that of the paired difference.

    Raises:
        ValueError: the counts are of different numbers of images or classes.
    """
    shapes = {counts.shape for counts in (*seeds, *minus)}
    if len(shapes) != 1:
        raise ValueError(f"counts of different images or classes: {sorted(shapes)}")
    images = len(seeds[0])
    draws = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples)
    value, resampled = 0.0, np.zeros(resamples)
    for sign, group in ((1, seeds), (-1, minus)):
        for counts in group:
            value += sign * float(mean_iou(counts.sum(0))) / len(group)
            resampled += sign * mean_iou(np.einsum("rn,nck->rck", draws, counts.astype(np.int64))) / len(group)
    low, high = np.nanpercentile(100 * resampled, [50 * (1 - level), 50 * (1 + level)])
    return Interval(100 * value, float(low), float(high))


def load_counts(evaluation: str | Path, level: str = "sem_seg") -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
    """An evaluation's JSON document, its image ids `[N]` and counts `[N, 3, K]` of a level.

    Raises:
        InputError: the file is no evaluation of NightLab's, or its counts are missing.
    """
    path = Path(evaluation)
    try:
        document = json.loads(path.read_text())
        with np.load(path.with_name(document["per_image"])) as arrays:
            return document, arrays["image_ids"], arrays[level]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not an evaluation with its per-image counts ({error}); train_net.py writes them to "
            "OUTPUT_DIR/evaluation/<data set>/"
        ) from error
