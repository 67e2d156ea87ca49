"""Metrics against a 4x4 pair of maps worked out by hand."""

import math

import numpy as np
import pytest

from nightlab.errors import InputError
from nightlab.evaluation.metrics import (
    are_named,
    area_under_roc,
    class_counts,
    class_iou,
    confusion_matrix,
    mean_iou,
    summarize,
)

CLASSES = ("road", "car", "rider", "train")  # the ground truth below has no train
LABEL = np.array(
    [
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 255, 1, 1],
        [2, 255, 255, 2],
    ],
    np.int64,
)
PREDICTION = np.array(
    [
        [0, 0, 0, 1],
        [0, 0, 1, 1],
        [0, 2, 1, 1],
        [0, 0, 3, 3],
    ],
    np.int64,
)
CONFUSION = [  # rows: ground truth; the three ignored pixels are in no cell
    [6, 1, 0, 0],
    [0, 4, 0, 0],
    [1, 0, 0, 1],
    [0, 0, 0, 0],
]


def test_confusion_matrix() -> None:
    found = confusion_matrix(PREDICTION, LABEL, 4)
    assert found.tolist() == CONFUSION
    assert found.dtype == np.int64


def test_labels_may_be_bytes() -> None:
    large = np.full((300, 300), 18, np.uint8)  # 19 * 18 + 18 does not fit into a byte
    assert confusion_matrix(large.astype(np.int64), large, 19)[18, 18] == 90000


def test_counts() -> None:
    counts = class_counts(np.array(CONFUSION))
    assert counts.tolist() == [[6, 4, 0, 0], [7, 4, 2, 0], [7, 5, 0, 1]]


def test_iou() -> None:
    iou = class_iou(class_counts(np.array(CONFUSION)))
    assert iou[:3].tolist() == [6 / 8, 4 / 5, 0]
    assert math.isnan(iou[3])  # predicted, but absent from the ground truth
    assert mean_iou(class_counts(np.array(CONFUSION))) == pytest.approx((6 / 8 + 4 / 5 + 0) / 3)


def test_counts_of_many_images_at_once() -> None:
    empty = np.zeros((4, 4), np.int64)
    counts = class_counts(np.array([CONFUSION, empty, np.diag([5, 0, 0, 5])]))
    assert counts.shape == (3, 3, 4)
    assert mean_iou(counts)[[0, 2]] == pytest.approx([(6 / 8 + 4 / 5) / 3, 1])
    assert math.isnan(mean_iou(counts)[1])


def test_summary() -> None:
    results = summarize(np.array(CONFUSION), CLASSES, [False, False, True, True])
    expected = {
        "mIoU": (75 + 80 + 0) / 3,
        "mIoU-hard": 0,  # rider alone: train is absent
        "mIoU-easy": (75 + 80) / 2,
        "fwIoU": (7 * 75 + 4 * 80) / 13,
        "mACC": (100 * 6 / 7 + 100 + 0) / 3,
        "pACC": 100 * 10 / 13,
        "IoU-road": 75,
        "IoU-car": 80,
        "IoU-rider": 0,
        "IoU-train": math.nan,
        "ACC-road": 100 * 6 / 7,
        "ACC-car": 100,
        "ACC-rider": 0,
        "ACC-train": math.nan,
    }
    assert list(results) == list(expected)
    assert results == pytest.approx(expected, nan_ok=True)


def test_means_over_nothing_are_nan() -> None:
    results = summarize(np.array(CONFUSION), CLASSES, [False] * 4)
    assert math.isnan(results["mIoU-hard"])
    assert results["mIoU-easy"] == results["mIoU"]
    nothing = summarize(np.zeros((4, 4), np.int64), CLASSES, [False] * 4)
    assert math.isnan(nothing["mIoU"]) and math.isnan(nothing["mACC"])


@pytest.mark.parametrize(
    ("scores", "positive", "area"),
    [
        ([0.1, 0.4, 0.35, 0.8], [False, False, True, True], 3 / 4),
        ([1, 2, 3, 4], [False, False, True, True], 1),
        ([4, 3, 2, 1], [False, False, True, True], 0),
        ([1, 1, 1], [True, False, True], 1 / 2),
        ([1, 2, 2, 3], [False, True, False, True], 3.5 / 4),  # of four pairs three are right and one is even
        ([2, 1, 2, 2, 0], [True, True, False, False, False], 3 / 6),
        ([], [], None),
        ([1, 2], [True, True], None),
        ([1, 2], [False, False], None),
    ],
)
def test_area_under_roc_by_hand(scores: list[float], positive: list[bool], area: float | None) -> None:
    found = area_under_roc(np.array(scores, float), np.array(positive, bool))
    assert found == (None if area is None else pytest.approx(area))


def test_area_under_roc_by_counting_pairs() -> None:
    random = np.random.default_rng(0)
    scores, positive = random.integers(0, 9, 60).astype(float), random.uniform(size=60) < 0.3
    pairs = [(p > n) + (p == n) / 2 for p in scores[positive] for n in scores[~positive]]
    assert area_under_roc(scores, positive) == pytest.approx(np.mean(pairs))


def test_classes_by_their_names() -> None:
    assert are_named(["pole", "car", "sign"], ["sign", "pole"], "--classes").tolist() == [True, False, True]
    assert are_named(["pole", "car"], [], "--classes").tolist() == [False, False]
    with pytest.raises(InputError, match=r"^--classes: tram, bus not among the classes pole, car$"):
        are_named(["pole", "car"], ["tram", "car", "bus"], "--classes")
