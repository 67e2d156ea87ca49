"""Semantic segmentation metrics from counts, as plain functions.

Symbols: K classes; a confusion matrix `[K, K]` has ground truth in rows and predictions in columns; counts `[3, K]`
hold, per class, true positives, ground-truth pixels and predicted pixels, over pixels with a label.
"""

from collections.abc import Sequence

import numpy as np

from nightlab.errors import InputError, enumerate_some


def confusion_matrix(prediction: np.ndarray, label: np.ndarray, num_classes: int) -> np.ndarray:
    """int64 `[K, K]` of two maps `[H, W]` of class ids; pixels whose label is not below K are left out."""
    valid = label < num_classes
    pairs = num_classes * label[valid].astype(np.int64) + prediction[valid]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_counts(confusion: np.ndarray) -> np.ndarray:
    """int64 `[..., 3, K]` of confusion matrices `[..., K, K]`."""
    true_positives = np.diagonal(confusion, axis1=-2, axis2=-1)
    return np.stack([true_positives, confusion.sum(-1), confusion.sum(-2)], axis=-2)


def class_iou(counts: np.ndarray) -> np.ndarray:
    """IoU `[..., K]` in 0...1 of counts `[..., 3, K]`; NaN for classes that are absent from the ground truth."""
    true_positives, labelled, predicted = np.moveaxis(counts.astype(np.float64), -2, 0)
    union = labelled + predicted - true_positives
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(labelled > 0, true_positives / union, np.nan)


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Mean of `class_iou` over the classes present in the ground truth `[...]`, in 0...1; NaN where none is present."""
    iou = class_iou(counts)
    present = ~np.isnan(iou)
    with np.errstate(invalid="ignore"):
        return np.where(present, iou, 0).sum(-1) / present.sum(-1)


def is_hard(iou: np.ndarray, hard_iou: float) -> np.ndarray:
    """Which classes are hard: bool `[K]` of IoU `[K]` in percent and a threshold in 0...1. NaN (absent) never is."""
    return np.asarray(iou, float) < 100 * hard_iou


def are_named(classes: Sequence[str], names: Sequence[str], where: str) -> np.ndarray:
    """Which of K classes are among `names`: bool `[K]`.

    Raises:
        InputError: a name is none of theirs; `where` says which key or option has it.
    """
    strangers = [name for name in names if name not in classes]
    if strangers:
        raise InputError(f"{where}: {enumerate_some(strangers)} not among the classes {', '.join(classes)}")
    return np.array([name in names for name in classes])


def summarize(confusion: np.ndarray, classes: Sequence[str], hard: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """`summarize_counts` of a confusion matrix `[K, K]`."""
    return summarize_counts(class_counts(confusion), classes, hard)


def summarize_counts(counts: np.ndarray, classes: Sequence[str], hard: Sequence[bool] | np.ndarray) -> dict[str, float]:
    """The figures of counts `[3, K]` in percent: mIoU, mIoU-hard, mIoU-easy, fwIoU, mACC, pACC and, by class, IoU, ACC.

    Keys of classes are `IoU-<class>` and `ACC-<class>`.
    Means run over classes present in the ground truth; a mean over none, and a class that is absent, is NaN.
    """
    hard_mask = np.asarray(hard, bool)
    iou = class_iou(counts)
    true_positives, labelled = counts[0].astype(float), counts[1].astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        accuracy = np.where(labelled > 0, true_positives / labelled, np.nan)
    results = {
        "mIoU": _mean(iou),
        "mIoU-hard": _mean(iou[hard_mask]),
        "mIoU-easy": _mean(iou[~hard_mask]),
        "fwIoU": float(np.nansum(iou * labelled) / max(labelled.sum(), 1)),
        "mACC": _mean(accuracy),
        "pACC": float(true_positives.sum() / max(labelled.sum(), 1)),
    }
    results |= {f"IoU-{name}": float(value) for name, value in zip(classes, iou, strict=True)}
    results |= {f"ACC-{name}": float(value) for name, value in zip(classes, accuracy, strict=True)}
    return {key: 100 * value for key, value in results.items()}


def area_under_roc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Probability that a positive scores above a negative, ties counting half; None without one of either."""
    number = int(positive.sum())
    if number in (0, len(positive)):
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # of tied scores the mean
    return float((ranks[positive].sum() - number * (number + 1) / 2) / (number * (len(positive) - number)))


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if len(present) else float("nan")
