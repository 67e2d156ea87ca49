"""IoU gain: how much better the region level is than the image level inside a box. Pure torch.

The paper labels HDM's proposals by it. Ours is the mIoU of the merged crop minus the mIoU of P^I in it, over the
classes that the ground truth of the box holds (`region_gain`), or what the crop adds to the mIoU of all images
together (`dataset_gain`); ignored pixels count for nothing.
"""

import torch
from torch import Tensor


def box_counts(prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """int64 `[R, 3, K]` (true positives, ground-truth pixels, predicted pixels) of class maps `[R, h, w]`.

    Pixels whose target is not below K are left out of all three. One count for the whole batch.
    """
    boxes = len(target)
    valid = (target >= 0) & (target < num_classes)
    # Ignored pixels are counted in a column of their own, which is cut off: no data-dependent shape, no wait.
    row = torch.arange(boxes, device=target.device).view(-1, 1, 1) * (num_classes + 1)
    spare = torch.full_like(target, num_classes)

    def count(classes: Tensor) -> Tensor:
        flat = (row + classes).flatten()
        sums = torch.zeros(boxes * (num_classes + 1), dtype=torch.int64, device=target.device)
        sums.scatter_add_(0, flat, torch.ones_like(flat))
        return sums.view(boxes, num_classes + 1)[:, :num_classes]

    hit = torch.where(valid & (prediction == target), target, spare)
    return torch.stack(
        [count(hit), count(torch.where(valid, target, spare)), count(torch.where(valid, prediction, spare))], 1
    )


def mean_iou(counts: Tensor) -> Tensor:
    """Mean IoU in 0...1 `[R]` of counts `[R, 3, K]` over the classes present in the ground truth; NaN without any."""
    hits, labelled, predicted = counts.double().unbind(dim=1)
    present = labelled > 0
    iou = hits / (labelled + predicted - hits).clamp(min=1)
    return torch.where(present, iou, 0).sum(dim=1) / present.sum(dim=1)


def region_gain(before: Tensor, after: Tensor) -> Tensor:
    """Gain `[R]` in -1...1 of counts `[R, 3, K]` after merging over those of P^I; NaN where no pixel has a label."""
    return mean_iou(after) - mean_iou(before)


def dataset_gain(before: Tensor, after: Tensor, totals: Tensor, of: Tensor | None = None) -> Tensor:
    """What each region would add to the mIoU (0...1) of a whole data set, to first order, `[R]`.

    A region with three pixels of a sign counts for as much as those are among the signs of all images, where
    `region_gain` gives them as much weight as the road around them.

    Args:
        before, after: counts `[R, 3, K]` of P^I and of the merged map in each region, as `box_counts` gives them.
        totals: those of P^I over all images, `[3, K]`, in pixels of the same size.
        of: which classes that is the mean of, bool `[K]`, as far as they are there; None: all.
    """
    hits, labelled, predicted = totals.double()
    union = (labelled + predicted - hits).clamp(min=1)
    change = after.double() - before.double()
    more_hits = change[:, 0]
    more_union = change[:, 2] - more_hits  # the ground truth stays what it is
    by_class = more_hits / union - hits / union**2 * more_union
    present = labelled > 0 if of is None else (labelled > 0) & of
    return by_class[:, present].sum(dim=1) / present.sum().clamp(min=1)
