"""Convolutions and matrix products on CPUs by the fastest of the libraries that torch is built with.

torch takes oneDNN for convolutions and MKL for matrix products. Where that is not the fastest:

- A 3x3 convolution of many channels over a large map takes half the time by Winograd's minimal filtering (Lavin and
  Gray, Fast Algorithms for Convolutional Neural Networks, CVPR 2016), which NNPACK has and oneDNN has no more. It is
  for inference.
- On AMD's cores with AVX-512, MKL uses half of their width and oneDNN all of it.

Both are exact but for rounding. Graphs that are traced, exported or compiled do not see them.
"""

import platform
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# Below these, NNPACK's transforms cost more than they save.
LEAST_CHANNELS = 128
LEAST_PIXELS = 1024
# Multiply-adds of a product below which oneDNN's way in costs more than it saves.
LEAST_PRODUCT = 2**20


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.conv2d` of stride 1 with zeros around that keep the size, `[B, C, H, W]` to `[B, O, H, W]`."""
    if winograd_pays(x, weight):
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        # It has another, slower way for batches.
        images = [torch._nnpack_spatial_convolution(image, weight, bias, 1) for image in x.split(1)]
        return images[0] if len(images) == 1 else torch.cat(images)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`F.linear`: `[..., C]` and `[O, C]` to `[..., O]`; gradients, too, the first ones."""
    if _is_plain(x, weight) and x.numel() * len(weight) >= LEAST_PRODUCT and mkl_is_narrow():
        out = _Product.apply(x, weight, bias)
        assert isinstance(out, Tensor)
        return out
    return F.linear(x, weight, bias)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`linear` by oneDNN, without gradients."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


class _Product(torch.autograd.Function):
    """`linear` by oneDNN, forward and backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(0, -2)
        return (
            _product(gradient, weight.t()) if of_x else None,
            _product(x.flatten(0, -2).t(), rows.t()).t() if of_weight else None,
            rows.sum(0) if of_bias else None,
        )


class Linear(nn.Linear):
    """torch's, through `linear`."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


def use_linear(body: nn.Module) -> None:
    """Gives every plain `nn.Linear` in a model `linear`, in place."""
    for module in body.modules():
        if type(module) is nn.Linear:
            module.__class__ = Linear


def winograd_pays(x: Tensor, weight: Tensor) -> bool:
    """Whether NNPACK's 3x3 convolution of stride 1 is possible and likely faster."""
    if not _is_plain(x, weight) or torch.is_grad_enabled() or tuple(weight.shape[-2:]) != (3, 3) or not len(x):
        return False
    return min(weight.shape[:2]) >= LEAST_CHANNELS and x[0, 0].numel() >= LEAST_PIXELS and _has_nnpack()


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Float32 on a CPU, without autocast or a graph being captured."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32:
        return False
    captured = torch.jit.is_tracing() or torch.jit.is_scripting() or torch.compiler.is_compiling()
    return not captured and not torch.is_autocast_enabled("cpu")


def _has_nnpack() -> bool:
    """Whether NNPACK is there, runs on these cores and was not switched off (`torch.backends.nnpack.set_flags`)."""
    return hasattr(torch, "_nnpack_spatial_convolution") and _nnpack_runs() and torch._C._get_nnpack_enabled()


@lru_cache(maxsize=1)
def _nnpack_runs() -> bool:
    return torch.backends.nnpack.is_available()  # which also initialises it


@lru_cache(maxsize=1)
def mkl_is_narrow() -> bool:
    """Whether MKL, which chooses its kernels by the maker, leaves half of these cores' width unused."""
    if not torch.backends.mkl.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512") and "AuthenticAMD" in _maker()


def _maker() -> str:
    """The CPU's, as its own identification spells it, among other words."""
    linux = Path("/proc/cpuinfo")
    return linux.read_text(errors="replace") if linux.is_file() else platform.processor()
