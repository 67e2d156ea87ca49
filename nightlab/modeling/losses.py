"""Losses as plain functions of tensors."""

import torch
from detectron2.utils import comm
from torch import Tensor
from torch.nn import functional as F

from nightlab.modeling.layers import resize_to


def segmentation_loss(logits: Tensor, target: Tensor, ignore_label: int) -> Tensor:
    """Cross entropy of `logits` `[B, K, h, w]`, resized to `target` `[B, H, W]`, averaged over the valid pixels.

    The count of valid pixels is that of all processes, so that N processes with a share of the batch each give,
    averaged, the gradient of one process with the whole batch. A batch without a valid pixel gives 0 (and zero
    gradients).
    """
    logits = resize_to(logits.float(), (target.shape[-2], target.shape[-1]))
    total = F.cross_entropy(logits, target, ignore_index=ignore_label, reduction="sum")
    valid = (target != ignore_label).sum().to(total.dtype)
    processes = comm.get_world_size()
    if processes > 1:
        torch.distributed.all_reduce(valid)
        valid = valid / processes
    return total / valid.clamp(min=1)
