"""Multiply-adds of the image level by component, with fused attention and deformable convolutions."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from torch import Tensor, nn

from nightlab.benchmark.timing import REST
from nightlab.modeling import NightLab, Segmentor


class _ImageLevel(nn.Module):
    """The image level as a function of tensors alone, which is what can be traced: frame to full-size logits."""

    def __init__(self, image_level: Segmentor):
        super().__init__()
        self.image_level = image_level

    def forward(self, images: Tensor) -> Tensor:
        size = (int(images.shape[-2]), int(images.shape[-1]))
        return self.image_level.at_image_size(self.image_level(images).logits, size)


def count_gmac(
    model: NightLab, size: tuple[int, int], components: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, int]]:
    """10^9 multiply-adds of one image of `size` by component, with `total`, and the operations that are not counted.

    fvcore's count; attention counts as its two products even where torch fuses it, a deformable convolution as a plain
    one and four for each value that it samples (as fvcore counts `grid_sample`).
    """
    image_level = _ImageLevel(model.image_level).eval()
    analysis = FlopCountAnalysis(image_level, torch.zeros(1, 3, *size, device=model.device))
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    analysis.set_op_handle("torchvision::deform_conv2d", _deformable_macs)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")
    total = analysis.total()
    gmac = {name: analysis.total(path) / 1e9 for name, path in components.items()}
    gmac[REST] = total / 1e9 - sum(gmac.values())
    return {**gmac, "total": total / 1e9}, dict(analysis.unsupported_ops())


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    query, key, value = (get_shape(x) for x in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _deformable_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of `torchvision.ops.deform_conv2d`: input `[B, in, H, W]`, weight `[out, in / groups, kh, kw]`."""
    (batch, channels, *_), weight, output = get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0])
    places = batch * prod(output[-2:])
    return places * (prod(weight) + 4 * channels * prod(weight[-2:]))
