"""UPerNet's head in all its variants: the contract, the textbook's own computation, deformable equal to plain."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.deformable import DeformableConv2d
from nightlab.modeling.upernet import FCNHead, UPerNetHead

from .contracts import HeadContract, conv_by_taps, shake


def build_head(input_shape: dict[str, ShapeSpec], **options: object) -> UPerNetHead:
    defaults = {"in_features": list(input_shape), "num_classes": HeadContract.num_classes, "channels": 8}
    return UPerNetHead(input_shape, **{**defaults, **options})


class TestPlain(HeadContract):
    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        return build_head(input_shape, dropout=0.0)


class TestDeformableFPN(HeadContract):
    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        return build_head(input_shape, dropout=0.0, deform_fpn=True)


class TestDeformableHead(HeadContract):
    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        return build_head(input_shape, dropout=0.0, deform_head=True)


class TestDeformableEverywhereFirstVersion(HeadContract):
    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        return build_head(input_shape, dropout=0.0, deform_fpn=True, deform_head=True, modulated=False)


class TestAuxiliary(HeadContract):
    """The FCN head sees one feature: here the finest, so that the contract's sizes hold."""

    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        return OfOneFeature(FCNHead(input_shape["res2"].channels, 8, self.num_classes, dropout=0.0))


class OfOneFeature(nn.Module):
    def __init__(self, head: FCNHead):
        super().__init__()
        self.head = head

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(features["res2"])


class Parts(HeadContract):
    """Builds heads and features for the tests below."""

    def head(self, **options: object) -> UPerNetHead:
        self.build = lambda shape: build_head(shape, **options)  # type: ignore[method-assign]
        head = self.make()
        assert isinstance(head, UPerNetHead)
        return head


def textbook(head: UPerNetHead, features: dict[str, Tensor]) -> Tensor:
    """UPerNet as its paper describes it, written out with the head's weights."""

    def block(layer: nn.Sequential, x: Tensor) -> Tensor:
        weight, norm = layer[0].weight, layer[1]
        x = torch.einsum("bchw,oc->bohw", x, weight[..., 0, 0]) if weight.shape[-1] == 1 else conv_by_taps(x, weight)
        x = (x - norm.running_mean.view(1, -1, 1, 1)) / (norm.running_var + norm.eps).sqrt().view(1, -1, 1, 1)
        return (x * norm.weight.view(1, -1, 1, 1) + norm.bias.view(1, -1, 1, 1)).relu()

    def up(x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)

    c2, c3, c4, c5 = features.values()
    pyramid = [c5]
    for scale, branch in zip((1, 2, 3, 6), head.pooling.branches, strict=True):
        pyramid.append(up(block(branch, F.adaptive_avg_pool2d(c5, scale)), c5))
    m5 = block(head.pooling.bottleneck, torch.cat(pyramid, 1))
    m4 = block(head.laterals[2], c4) + up(m5, c4)
    m3 = block(head.laterals[1], c3) + up(m4, c3)
    m2 = block(head.laterals[0], c2) + up(m3, c2)
    p2, p3, p4 = block(head.fpn[0], m2), block(head.fpn[1], m3), block(head.fpn[2], m4)
    fused = block(head.fusion, torch.cat([p2, up(p3, p2), up(p4, p2), up(m5, p2)], 1))
    return head.classifier(fused)


@pytest.mark.parametrize("sizes", HeadContract.sizes)
def test_plain_head_is_the_textbook(sizes: tuple) -> None:
    parts = Parts()
    head = parts.head().eval()
    shake(head)
    features = parts.features(sizes)
    with torch.no_grad():
        torch.testing.assert_close(head(features), textbook(head, features), rtol=1e-4, atol=1e-5)


def test_wide_heads_are_the_textbook_too() -> None:
    """Wide and large enough for every short way, at odd sizes."""
    sizes = ((47, 61), (24, 31), (12, 16), (6, 8))
    parts = Parts()
    head = parts.head(channels=128).eval()
    shake(head)
    features = parts.features(sizes, batch=1)
    with torch.no_grad():
        ours, expected = head(features), textbook(head, features)
    assert (ours - expected).abs().max() < 1e-5 * expected.abs().max()


def test_textbook_shapes() -> None:
    shapes = {name: tuple(value.shape) for name, value in Parts().head().named_parameters() if value.ndim == 4}
    assert shapes == {
        **{f"pooling.branches.{n}.0.weight": (8, 10, 1, 1) for n in range(4)},
        "pooling.bottleneck.0.weight": (8, 10 + 4 * 8, 3, 3),
        "laterals.0.0.weight": (8, 4, 1, 1),
        "laterals.1.0.weight": (8, 6, 1, 1),
        "laterals.2.0.weight": (8, 8, 1, 1),
        **{f"fpn.{n}.0.weight": (8, 8, 3, 3) for n in range(3)},
        "fusion.0.weight": (8, 4 * 8, 3, 3),
        "classifier.weight": (5, 8, 1, 1),
    }


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("fpn", "head"), [(True, False), (False, True), (True, True)])
def test_zero_offsets_make_a_deformable_head_a_plain_one(modulated: bool, fpn: bool, head: bool) -> None:
    parts = Parts()
    plain = parts.head().eval()
    shake(plain)
    deformable = parts.head(deform_fpn=fpn, deform_head=head, modulated=modulated).eval()
    loaded = deformable.load_state_dict(plain.state_dict(), strict=False)
    assert not loaded.unexpected_keys and all(".offset." in key for key in loaded.missing_keys)
    features = parts.features(HeadContract.sizes[1])
    with torch.no_grad():
        torch.testing.assert_close(deformable(features), plain(features), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("fpn", "head", "count"), [(True, False, 3), (False, True, 2), (True, True, 5)])
def test_deformable_convolutions_stand_where_table_4_says(fpn: bool, head: bool, count: int) -> None:
    built = Parts().head(deform_fpn=fpn, deform_head=head)
    places = [name for name, module in built.named_modules() if isinstance(module, DeformableConv2d)]
    assert len(places) == count
    assert any(name.startswith("fpn.") for name in places) == fpn
    assert any(name.startswith(("fusion.", "pooling.bottleneck.")) for name in places) == head


def test_memory_format_does_not_matter() -> None:
    parts = Parts()
    head = parts.head(deform_fpn=True).eval()
    features = parts.features(HeadContract.sizes[1])
    with torch.no_grad():
        plain = head(features)
        head.to(memory_format=torch.channels_last)
        moved = head({name: x.contiguous(memory_format=torch.channels_last) for name, x in features.items()})
    torch.testing.assert_close(moved, plain, rtol=1e-4, atol=1e-5)


def test_dropout_works_in_training_only() -> None:
    parts = Parts()
    head = parts.head(dropout=0.5)
    features = parts.features(HeadContract.sizes[0])
    assert not torch.equal(head.train()(features), head(features))
    assert torch.equal(head.eval()(features), head(features))


def test_fewer_features_will_do() -> None:
    shapes = {"res3": ShapeSpec(channels=6, stride=8), "res5": ShapeSpec(channels=10, stride=32)}
    head = build_head(shapes, pool_scales=(1, 2)).eval()
    features = {"res3": torch.randn(1, 6, 8, 8), "res5": torch.randn(1, 10, 2, 2), "res9": torch.randn(1)}
    assert head(features).shape == (1, 5, 8, 8)
