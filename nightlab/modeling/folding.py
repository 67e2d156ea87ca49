"""BatchNorm folded into the convolution before it, at inference: anew each time, so that it is right after any load."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nightlab.modeling.cpu_kernels import convolve


class Kernel(NamedTuple):
    """Weight `[O, C, kh, kw]` and bias `[O]` of a convolution of stride 1 that keeps the size."""

    weight: Tensor
    bias: Tensor | None


def fold(block: nn.Module) -> Kernel | None:
    """The convolution and the BatchNorm that begin `block` as one convolution; None where that is not the same.

    It is not where gradients are wanted or the norm learns, and where the first two are something else.
    """
    assert isinstance(block, nn.Sequential)
    conv, norm = block[0], block[1]
    if torch.is_grad_enabled() or not isinstance(conv, nn.Conv2d) or not isinstance(norm, _BatchNorm):
        return None
    if norm.training or norm.running_var is None or norm.running_mean is None:
        return None
    scale = (norm.running_var + norm.eps).rsqrt() * (1 if norm.weight is None else norm.weight)
    mean = norm.running_mean if conv.bias is None else norm.running_mean - conv.bias
    bias = -mean * scale + (0 if norm.bias is None else norm.bias)
    return Kernel(conv.weight * scale.view(-1, 1, 1, 1), bias)


def apply(block: nn.Module, x: Tensor) -> Tensor:
    """What `block`, of convolution, norm and ReLU, makes of `x` `[B, C, H, W]`; faster at inference."""
    kernel = fold(block)
    return block(x) if kernel is None else convolve(x, *kernel).relu_()
