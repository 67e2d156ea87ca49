"""Multiply-adds of both levels by component, with fused attention and deformable convolutions."""

from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from fvcore.nn import FlopCountAnalysis
from fvcore.nn.jit_handles import get_shape
from torch import Tensor, nn

from nightlab.benchmark.timing import REST
from nightlab.modeling import NightLab, Segmentor


class ImageLevel(nn.Module):
    """The image level as a function of tensors alone, which is what can be traced: frame to full-size logits."""

    def __init__(self, image_level: Segmentor):
        super().__init__()
        self.image_level = image_level

    def forward(self, images: Tensor) -> Tensor:
        size = (int(images.shape[-2]), int(images.shape[-1]))
        return self.image_level.at_image_size(self.image_level(images).logits, size)


class _Detector(nn.Module):
    """The convolutions of the detector, from an image that the image level has seen; boxes cost next to nothing."""

    def __init__(self, model: NightLab):
        super().__init__()
        assert model.detector is not None
        self.image_level = model.image_level
        self.detector = model.detector

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        seen = self.image_level(images)
        features, prior = seen.features, seen.logits
        if self.detector.backbone is not None:
            features, prior = self.detector.backbone(seen.image), None
        return self.detector.rpn.rpn_head([self.detector.neck(features, prior)])


def count_gmac(
    model: NightLab, size: tuple[int, int], components: Mapping[str, str]
) -> tuple[dict[str, float], dict[str, int]]:
    """10^9 multiply-adds of one image of `size` by component, with `total`, and the operations that are not counted.

    `components` are paths inside the model: of the image level, and "detector" and "region_level", the latter for
    MAX_REGIONS crops. fvcore's count; attention counts as its two products even where torch fuses it, a deformable
    convolution as a plain one and four for each value that it samples (as fvcore counts `grid_sample`).
    """
    images = torch.zeros(1, 3, *size, device=model.device)
    image_level = analysis(ImageLevel(model.image_level), images)
    total = image_level.total()
    paths = {name: path for name, path in components.items() if path.startswith("image_level.")}
    macs = {name: image_level.total(path) for name, path in paths.items()}
    macs[REST] = total - sum(macs.values())
    uncounted = dict(image_level.unsupported_ops())
    for name, path in components.items():
        if path == "detector":
            detector = analysis(_Detector(model), images)
            # The image level in front of it is without the resizing at its end.
            macs[name] = detector.total() - detector.total("image_level")
        elif path == "region_level":
            assert model.region_level is not None and model.rule is not None
            crop = torch.zeros(1, 3, *model.rule.crop_size, device=model.device)
            macs[name] = model.max_regions * analysis(_Logits(model.region_level.segmentor), crop).total()
    macs["total"] = sum(macs.values())
    return {name: value / 1e9 for name, value in macs.items()}, uncounted


class _Logits(nn.Module):
    """A segmentor as a function of tensors alone."""

    def __init__(self, segmentor: Segmentor):
        super().__init__()
        self.segmentor = segmentor

    def forward(self, images: Tensor) -> Tensor:
        return self.segmentor(images).logits


def analysis(module: nn.Module, images: Tensor) -> FlopCountAnalysis:
    """fvcore's count of a module on `images`, with the operators that it does not know itself."""
    analysis = FlopCountAnalysis(module.eval(), images)
    analysis.set_op_handle("aten::scaled_dot_product_attention", _attention_macs)
    analysis.set_op_handle("torchvision::deform_conv2d", _deformable_macs)
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings("none")


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> int:
    query, key, value = (get_shape(x) for x in inputs[:3])
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _deformable_macs(inputs: list[Any], outputs: list[Any]) -> int:
    """Of `torchvision.ops.deform_conv2d`: input `[B, in, H, W]`, weight `[out, in / groups, kh, kw]`."""
    (batch, channels, *_), weight, output = get_shape(inputs[0]), get_shape(inputs[1]), get_shape(outputs[0])
    places = batch * prod(output[-2:])
    return places * (prod(weight) + 4 * channels * prod(weight[-2:]))
