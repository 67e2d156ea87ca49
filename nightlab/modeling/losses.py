"""Losses as plain functions of tensors."""

import torch
from detectron2.utils import comm
from torch import Tensor
from torch.nn import functional as F

from nightlab.modeling.layers import resize_to


def segmentation_loss(
    logits: Tensor, target: Tensor, ignore_label: int, weights: Tensor | None = None, divisor: Tensor | None = None
) -> Tensor:
    """Cross entropy of `logits` `[B, K, h, w]`, resized to `target` `[B, H, W]`, averaged over the valid pixels.

    With `weights` `[K]` a pixel counts as much as its class weighs, in the sum and in the average. The count of valid
    pixels is that of all processes, so that N processes with a share of the batch each give, averaged, the gradient of
    one process with the whole batch. A batch without a valid pixel gives 0 (and zero gradients). `divisor` takes the
    place of that count where a step has several batches: its mean over them.
    """
    logits = resize_to(logits.float(), (target.shape[-2], target.shape[-1]))
    if logits.is_contiguous(memory_format=torch.channels_last):
        # Rows of K numbers, as they lie in memory: on a CPU a fraction of the time of a reduction over planes.
        rows, wanted = logits.permute(0, 2, 3, 1).flatten(0, 2), target.flatten()
    else:
        rows, wanted = logits, target
    total = F.cross_entropy(rows, wanted, weights, ignore_index=ignore_label, reduction="sum")
    if divisor is None:
        divisor = mean_over_processes(count_valid(target, ignore_label, weights))
    # Where nothing is valid the total is zero, too; a share of a pixel per process is still divided by itself. The
    # bound is far from the smallest number, whose inverse would overflow in mixed precision.
    return total / divisor.clamp(min=1e-6)


def count_valid(target: Tensor, ignore_label: int, weights: Tensor | None = None) -> Tensor:
    """How many pixels of class maps are not ignored, each counted as much as its class weighs: a scalar."""
    known = target != ignore_label
    return known.sum() if weights is None else (weights[target.where(known, 0)] * known).sum()


def mean_over_processes(count: Tensor) -> Tensor:
    """A float32 scalar."""
    count, processes = count.float(), comm.get_world_size()
    if processes > 1:
        torch.distributed.all_reduce(count)
        count = count / processes
    return count
