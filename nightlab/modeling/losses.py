"""Losses as plain functions of tensors."""

import torch
from detectron2.utils import comm
from torch import Tensor
from torch.nn import functional as F

from nightlab.modeling.layers import resize_to

# As a logit: impossible. Finite, so that resizing a map of it stays itself, and within float16.
UNUSED = -1e4


def segmentation_loss(
    logits: Tensor,
    target: Tensor,
    ignore_label: int,
    weights: Tensor | None = None,
    divisor: Tensor | None = None,
    hard: Tensor | None = None,
) -> Tensor:
    """Cross entropy of `logits` `[B, K, h, w]`, resized to `target` `[B, H, W]`, averaged over the valid pixels.

    With `weights` `[K]` a pixel counts as much as its class weighs, in the sum and in the average. The count of valid
    pixels is that of all processes, so that N processes with a share of the batch each give, averaged, the gradient of
    one process with the whole batch. A batch without a valid pixel gives 0 (and zero gradients). `divisor` takes the
    place of that count where a step has several batches: its mean over them.

    With `hard`, bool `[K]`, two questions are asked: which hard class, or an easy one, and of easy pixels which of the
    easy classes. log P(c) = log P(easy) + log P(c | easy), so that without weights it is the same; with them, a pixel
    of an easy class counts as 1 in the first question, and in the average, and as its class weighs in the second.
    """
    logits = resize_to(logits.float(), (target.shape[-2], target.shape[-1]))
    if logits.is_contiguous(memory_format=torch.channels_last):
        # Rows of K numbers, as they lie in memory: on a CPU a fraction of the time of a reduction over planes.
        rows, wanted = logits.permute(0, 2, 3, 1).flatten(0, 2), target.flatten()
    else:
        rows, wanted = logits, target
    total = F.cross_entropy(rows, wanted, weights, ignore_index=ignore_label, reduction="sum")
    if hard is not None and weights is not None:
        total = total + _as_easy(rows, wanted, ignore_label, weights, hard)
    if divisor is None:
        divisor = mean_over_processes(count_valid(target, ignore_label, weights, hard))
    # Where nothing is valid the total is zero, too; a share of a pixel per process is still divided by itself. The
    # bound is far from the smallest number, whose inverse would overflow in mixed precision.
    return total / divisor.clamp(min=1e-6)


def _as_easy(logits: Tensor, target: Tensor, ignore_label: int, weights: Tensor, hard: Tensor) -> Tensor:
    """What the two questions of `segmentation_loss` add to the weighted cross entropy, summed over the pixels of logits
    `[N, K]` or `[B, K, H, W]`: of easy class c, -log P(easy) - w_c log P(c | easy) is -w_c log P(c) + (w_c - 1) log
    P(easy)."""
    known = target != ignore_label
    factor = torch.where(hard, 0.0, weights - 1)[target.where(known, 0)] * known
    # A sum over all channels: to leave out some takes longer on a CPU, and autocast would round a product of matrices.
    is_easy = (~hard).to(logits.dtype).view(1, -1, *(1,) * (logits.dim() - 2))
    easy = (logits.softmax(dim=1) * is_easy).sum(dim=1)
    return (factor * easy.clamp(min=1e-30).log()).sum()


def count_valid(target: Tensor, ignore_label: int, weights: Tensor | None = None, hard: Tensor | None = None) -> Tensor:
    """How many pixels of class maps are not ignored, each counted as much as its class weighs (with `hard`, easy ones
    as 1): a scalar."""
    known = target != ignore_label
    if weights is None:
        return known.sum()
    if hard is not None:
        weights = torch.where(hard, weights, 1.0)
    return (weights[target.where(known, 0)] * known).sum()


def mean_over_processes(count: Tensor) -> Tensor:
    """A float32 scalar."""
    count, processes = count.float(), comm.get_world_size()
    if processes > 1:
        torch.distributed.all_reduce(count)
        count = count / processes
    return count
