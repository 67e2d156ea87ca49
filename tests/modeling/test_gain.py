"""IoU gain: a box worked out by hand, and counts against those of evaluation."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nightlab.evaluation import metrics
from nightlab.modeling.gain import box_counts, dataset_gain, mean_iou, region_gain

K = 4

# A rider (2) on a road (0) before a car (1); the image level misses half of the rider, the region level finds it all
# and takes one pixel of road for it.
TARGET = torch.tensor([[[0, 0, 2, 1], [0, 0, 2, 1], [0, 255, 2, 255], [0, 0, 2, 255]]])
IMAGE = torch.tensor([[[0, 0, 0, 1], [0, 0, 0, 1], [0, 3, 2, 1], [0, 0, 2, 0]]])
MERGED = torch.tensor([[[0, 2, 2, 1], [0, 0, 2, 1], [0, 3, 2, 1], [0, 0, 2, 0]]])


def iou_gain(image: Tensor, merged: Tensor, target: Tensor, num_classes: int) -> Tensor:
    return region_gain(*(box_counts(x, target, num_classes) for x in (image, merged)))


def test_counts_by_hand() -> None:
    assert box_counts(IMAGE, TARGET, K).tolist() == [[[7, 2, 2, 0], [7, 2, 4, 0], [9, 2, 2, 0]]]
    assert box_counts(MERGED, TARGET, K).tolist() == [[[6, 2, 4, 0], [7, 2, 4, 0], [6, 2, 5, 0]]]


def test_gain_by_hand() -> None:
    before = (7 / 9 + 2 / 2 + 2 / 4) / 3  # class 3 is not in the ground truth
    after = (6 / 7 + 2 / 2 + 4 / 5) / 3
    assert mean_iou(box_counts(IMAGE, TARGET, K)).item() == pytest.approx(before)
    assert iou_gain(IMAGE, MERGED, TARGET, K).tolist() == pytest.approx([after - before])
    assert iou_gain(MERGED, IMAGE, TARGET, K).tolist() == pytest.approx([before - after])
    assert iou_gain(IMAGE, IMAGE, TARGET, K).tolist() == [0]


def test_a_perfect_answer_over_a_wholly_wrong_one_gains_one() -> None:
    target = torch.tensor([[[0, 1, 255]]])
    wrong = torch.tensor([[[1, 0, 0]]])
    assert iou_gain(wrong, target.clamp(max=1), target, 2).tolist() == [1]
    assert iou_gain(target.clamp(max=1), wrong, target, 2).tolist() == [-1]


def test_a_class_that_only_a_prediction_has_counts_against_the_others_alone() -> None:
    target = torch.zeros(1, 2, 2, dtype=torch.long)
    prediction = torch.tensor([[[0, 3], [3, 0]]])
    assert mean_iou(box_counts(prediction, target, K)).tolist() == [0.5]  # not (0.5 + 0) / 2


def random_maps(boxes: int, share_ignored: float) -> tuple[Tensor, Tensor]:
    prediction, target = torch.randint(0, K, (2, boxes, 9, 13))
    target[target == 1] = 0  # class 1 is absent from the ground truth
    prediction[0][prediction[0] == 2] = 3  # and class 2 from the first prediction
    target[torch.rand(target.shape) < share_ignored] = 255
    return prediction, target


@pytest.mark.parametrize("share_ignored", [0.0, 0.3, 0.97])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
def test_counts_are_those_of_the_evaluation(share_ignored: float, dtype: torch.dtype) -> None:
    prediction, target = random_maps(5, share_ignored)
    counts = box_counts(prediction, target.to(dtype), K)
    assert counts.shape == (5, 3, K) and counts.dtype == torch.int64
    confusion = [metrics.confusion_matrix(p, t, K) for p, t in zip(prediction.numpy(), target.numpy(), strict=True)]
    expected = metrics.class_counts(np.array(confusion))
    assert counts.tolist() == expected.tolist()
    np.testing.assert_allclose(mean_iou(counts).numpy(), metrics.mean_iou(expected), rtol=1e-12)  # NaN equals NaN


def test_gains_are_differences_of_the_evaluations_means() -> None:
    image, target = random_maps(6, 0.2)
    merged = torch.where(torch.rand(image.shape) < 0.3, target.clamp(max=K - 1), image)

    def means(prediction: Tensor) -> list[float]:
        pairs = zip(prediction.numpy(), target.numpy(), strict=True)
        return [float(metrics.mean_iou(metrics.class_counts(metrics.confusion_matrix(p, t, K)))) for p, t in pairs]

    expected = np.array(means(merged)) - np.array(means(image))
    np.testing.assert_allclose(iou_gain(image, merged, target, K).numpy(), expected, rtol=0, atol=1e-12)
    assert (expected > 0).all()


@pytest.mark.parametrize("ignored", [255, -1, K])
def test_a_box_without_labels_has_no_gain(ignored: int) -> None:
    image, target = random_maps(3, 0.2)
    target[1] = ignored
    merged = (image + 1) % K
    counts = box_counts(image, target, K)
    assert counts[1].sum() == 0
    gain = iou_gain(image, merged, target, K)
    assert [math.isnan(x) for x in gain.tolist()] == [False, True, False]
    others = torch.tensor([0, 2])
    assert torch.equal(gain[others], iou_gain(image[others], merged[others], target[others], K))


def test_what_is_predicted_where_nothing_is_labelled_counts_for_nothing() -> None:
    image, target = random_maps(2, 0.5)
    changed = torch.where(target == 255, (image + 1) % K, image)
    assert torch.equal(box_counts(changed, target, K), box_counts(image, target, K))


def test_no_boxes_have_no_gains() -> None:
    none = torch.zeros(0, 9, 13, dtype=torch.long)
    assert box_counts(none, none, K).shape == (0, 3, K)
    assert iou_gain(none, none, none, K).shape == (0,)


def test_what_a_region_adds_to_a_data_set_is_what_its_mean_rises_by() -> None:
    target = torch.randint(0, K - 1, (400, 9, 13))  # class 3 is nowhere in the ground truth
    image = torch.where(torch.rand(target.shape) < 0.6, target, torch.randint(0, K, target.shape))
    merged = torch.where(torch.rand(target.shape) < 0.5, target, image)
    counts = box_counts(image, target, K)
    totals = counts.sum(dim=0)
    predicted = dataset_gain(counts, box_counts(merged, target, K), totals)
    for box in range(3):
        other = image.clone()
        other[box] = merged[box]
        risen = mean_iou(box_counts(other, target, K).sum(dim=0)[None]) - mean_iou(totals[None])
        assert predicted[box].item() == pytest.approx(risen.item(), rel=0.05) and risen > 0
    assert dataset_gain(counts, counts, totals).abs().max() == 0


def test_rare_classes_count_for_more_in_a_data_set() -> None:
    # 100 pixels of class 0 and 10 of class 1, all missed; a region that finds one pixel of either.
    totals = torch.tensor([[0, 0], [100, 10], [0, 0]])
    none = torch.zeros(2, 3, 2)
    found = none.clone()
    found[0, :, 0] = found[1, :, 1] = torch.tensor([1.0, 0, 1])
    assert dataset_gain(none, found, totals).tolist() == pytest.approx([0.01 / 2, 0.1 / 2])
    assert dataset_gain(none, found, totals, torch.tensor([False, True])).tolist() == pytest.approx([0, 0.1])
