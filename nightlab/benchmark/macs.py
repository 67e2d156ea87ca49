"""Multiply-adds of both levels by component, with fused attention and deformable convolutions."""

import copy
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nightlab.benchmark.timing import REST
from nightlab.modeling import NightLab, Segmentor
from nightlab.modeling.light import Clahe, OnnxEnhancement, ScriptedEnhancement

Shape = Sequence[int]


class ImageLevel(nn.Module):
    """The image level alone: frame to full-size logits."""

    def __init__(self, image_level: Segmentor):
        super().__init__()
        self.image_level = image_level

    def forward(self, images: Tensor) -> Tensor:
        size = (int(images.shape[-2]), int(images.shape[-1]))
        return self.image_level.at_image_size(self.image_level(images).logits, size)


class _Detector(nn.Module):
    """The networks of the detector, from an image that the image level has seen; boxes cost next to nothing."""

    hard: Tensor

    def __init__(self, model: NightLab):
        super().__init__()
        assert model.detector is not None
        self.image_level = model.image_level
        self.detector = model.detector
        self.register_buffer("hard", model.hard_class_mask)

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        seen, size = self.image_level(images), (int(images.shape[-2]), int(images.shape[-1]))
        feature = self.detector.feature(seen.image, seen.features, seen.logits, size, self.hard)
        return self.detector.rpn.rpn_head([feature])


def count_gmac(model: NightLab, size: tuple[int, int], components: Mapping[str, str]) -> dict[str, float]:
    """10^9 multiply-adds of one image of `size` by component, with `total`.

    `components` are paths inside the model: of the image level, and "detector" and "region_level", the latter for
    MAX_REGIONS crops. Light adaptation by OpenCV or by a network from a file is not counted.
    """
    images = torch.zeros(1, 3, *size, device="meta")
    image_level = Count(ImageLevel(model.image_level), images)
    paths = {name: path for name, path in components.items() if path.startswith("image_level.")}
    macs = {name: image_level.of(path) for name, path in paths.items()}
    macs[REST] = image_level.total - sum(macs.values())
    for name, path in components.items():
        if path == "detector":
            detector = Count(_Detector(model), images)
            # The image level in front of it is without the resizing at its end.
            macs[name] = detector.total - detector.of("image_level")
        elif path == "region_level":
            assert model.region_level is not None and model.rule is not None
            crop = torch.zeros(1, 3, *model.rule.crop_size, device="meta")
            macs[name] = model.max_regions * Count(model.region_level.segmentor, crop).total
    macs["total"] = sum(macs.values())
    return {name: value / 1e9 for name, value in macs.items()}


class Count:
    """Multiply-adds of a module on `images`, from shapes alone: it takes neither the time nor the memory of a forward.

    torch's count of convolutions, attention (its two products, fused or not) and products of matrices, and beside them
    what fvcore counts, with its weights: norms, pooling to a size, bilinear resizing. A deformable convolution counts
    as a plain one and four for each value that it samples (as in fvcore's count of `grid_sample`).
    """

    def __init__(self, module: nn.Module, images: Tensor):
        twin = _without_numbers(module).eval()
        self._counter = FlopCounterMode(display=False, custom_mapping=_MACS)
        with self._counter:
            twin(images.to("meta"))
        self._name = type(twin).__name__

    @property
    def total(self) -> float:
        return self._counter.get_total_flops() / 2

    def of(self, path: str) -> float:
        """Of a part of the module."""
        return sum(self._counter.get_flop_counts().get(f"{self._name}.{path}", {}).values()) / 2


def _without_numbers(module: nn.Module) -> nn.Module:
    """A twin whose tensors have shapes only, and which learns nothing, so that nothing is kept for a backward pass.

    Gradients themselves stay on: without them it is another pass, in which norms are folded into convolutions.
    """
    twins: dict[int, object] = {id(p): nn.Parameter(p.to("meta"), requires_grad=False) for p in module.parameters()}
    twins |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    outside = (Clahe, OnnxEnhancement, ScriptedEnhancement)
    twins |= {id(part): None for part in module.modules() if isinstance(part, outside)}
    return copy.deepcopy(module, twins)


# Formulas get shapes and give operations, of which a multiply-add is two.


def _norm(x: Shape, *rest: Any, out_shape: Any) -> int:
    """Layer and group norm."""
    return 2 * 5 * prod(x)


def _batch_norm(x: Shape, weight: Shape | None, *rest: Any, out_shape: Any) -> int:
    return 2 * prod(x) * (1 if weight is None else 2)


def _pooling(x: Shape, *rest: Any, out_shape: Any) -> int:
    return 2 * prod(x)


def _resizing(x: Shape, *rest: Any, out_shape: Shape) -> int:
    return 2 * 4 * prod(out_shape)


def _deformable(x: Shape, weight: Shape, *rest: Any, out_shape: Shape) -> int:
    """Input `[B, in, H, W]`, weight `[out, in / groups, kh, kw]`."""
    places = x[0] * prod(out_shape[-2:])
    return 2 * places * (prod(weight) + 4 * x[1] * prod(weight[-2:]))


_ATEN = torch.ops.aten
_MACS = {
    _ATEN.native_layer_norm: _norm,
    _ATEN.native_group_norm: _norm,
    _ATEN.native_batch_norm: _batch_norm,
    _ATEN._native_batch_norm_legit_no_training: _batch_norm,  # what torch makes of the former
    _ATEN._adaptive_avg_pool2d: _pooling,
    _ATEN.upsample_bilinear2d: _resizing,
    torch.ops.torchvision.deform_conv2d: _deformable,
}
