"""What every backbone and every decode head must do, as base classes of tests, and the small models tests share.

A subclass whose name begins with `Test` says how its module is built; pytest then runs the contract on it.
"""

import math
from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.config import load_config
from nightlab.modeling import NightLab, Segmentor, TimmBackbone

from ..conftest import REPOSITORY

NANO_SWIN: dict[str, Any] = {
    "name": "swin_tiny_patch4_window7_224",
    "out_indices": (0, 1, 2, 3),  # asking timm for them would build its full-size model first
    "out_norm": "LN",
    "args": {
        "strict_img_size": False,
        "always_partition": True,
        "embed_dim": 8,
        "depths": (2, 1, 1, 1),
        "num_heads": (1, 1, 2, 2),
    },
}


def tiny_config(*opts: Any) -> CfgNode:
    """A configuration whose model is built in half a second: ResNet-10 under a 16-channel UPerNet, five classes."""
    tiny = {
        "MODEL.DEVICE": "cpu",
        "MODEL.TIMM.NAME": "resnet10t",
        "MODEL.TIMM.OUT_NORM": "",
        "MODEL.TIMM.DROP_PATH_RATE": 0.0,
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 5,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 16,
        "MODEL.AUX_HEAD.CONVS_DIM": 16,
        "INPUT.IMAGE_SIZE": [0, 0],
    }
    pairs = [x for pair in tiny.items() for x in pair]
    return load_config(REPOSITORY / "configs" / "Base-UPerNet.yaml", [str(x) for x in (*pairs, *opts)])


class PointwiseBackbone(nn.Module):
    """Means over 4x4 pixels: what it says of a place follows from that place alone, mirrored or padded or not."""

    size_divisibility = 4

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"res2": F.avg_pool2d(x, 4)}


class PointwiseHead(nn.Module):
    """A classifier of single places."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.classifier = nn.Conv2d(3, num_classes, 1)

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.classifier(features["res2"])


def pointwise_segmentor(num_classes: int = 3) -> Segmentor:
    return Segmentor(
        backbone=PointwiseBackbone(),
        decode_head=PointwiseHead(num_classes),
        aux_head=None,
        aux_feature="res2",
        aux_weight=0.0,
        pixel_mean=[100.0, 110.0, 120.0],
        pixel_std=[50.0, 60.0, 70.0],
        ignore_label=255,
    )


def pointwise_model(num_classes: int = 3, image_size: tuple[int, int] = (0, 0)) -> NightLab:
    """NightLab on `PointwiseBackbone`, for testing."""
    torch.manual_seed(0)
    return NightLab(image_level=pointwise_segmentor(num_classes), num_classes=num_classes, image_size=image_size).eval()


def lively_model() -> NightLab:
    """The model of `tiny_config` with opinions: untrained, it would find all classes equally likely everywhere."""
    torch.manual_seed(0)
    model = build_model(tiny_config()).eval()
    shake(model)
    classifier = model.image_level.decode_head.classifier
    with torch.no_grad():
        nn.init.normal_(classifier.weight)
        classifier.weight /= model.image_level(255 * torch.rand(1, 3, 64, 64)).logits.std() / 3
    return model


def conv_by_taps(x: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution with zero padding, tap by tap: its definition, for comparison."""
    height, width = x.shape[-2:]
    padded = F.pad(x, (1, 1, 1, 1))
    out = torch.zeros(len(x), len(weight), height, width)
    for dy in range(3):
        for dx in range(3):
            window = padded[..., dy : dy + height, dx : dx + width]
            out += torch.einsum("bchw,oc->bohw", window, weight[..., dy, dx])
    return out


def assert_every_parameter_learns(module: nn.Module) -> None:
    """After a backward pass: each parameter has a finite gradient, and it is not zero throughout."""
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, f"{name} has no gradient"
        assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"
        assert parameter.grad.abs().max() > 0, f"the gradient of {name} is zero"


def shake(module: nn.Module) -> None:
    """Give norms statistics and affine parameters that matter, so that mistakes in them show."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.5)
            nn.init.uniform_(layer.running_var, 0.5, 2.0)
            nn.init.uniform_(layer.weight, 0.5, 2.0)
            nn.init.normal_(layer.bias, std=0.5)


class BackboneContract:
    """`[B, 3, H, W]`, a multiple of `size_divisibility`, to NCHW features of the declared strides and channels."""

    arguments: dict[str, Any]

    @classmethod
    def build(cls) -> TimmBackbone:
        return TimmBackbone(**cls.arguments)

    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls) -> TimmBackbone:
        """One instance for the tests that leave it as it is."""
        torch.manual_seed(0)
        return cls.build().eval()

    def test_declares_four_levels(self, shared: TimmBackbone) -> None:
        assert {name: spec.stride for name, spec in shared.output_shape().items()} == {
            "res2": 4,
            "res3": 8,
            "res4": 16,
            "res5": 32,
        }
        assert shared.size_divisibility == 4

    @pytest.mark.parametrize("size", [(32, 32), (64, 96), (48, 48), (100, 212), (36, 4), (4, 4), (132, 20)])
    def test_shapes_are_as_declared(self, shared: TimmBackbone, size: tuple[int, int]) -> None:
        with torch.no_grad():
            features = shared(torch.randn(2, 3, *size))
        assert list(features) == list(shared.output_shape())
        for name, spec in shared.output_shape().items():
            expected = (2, spec.channels, *(math.ceil(length / spec.stride) for length in size))
            assert features[name].shape == expected
            assert torch.isfinite(features[name]).all()

    def test_memory_format_does_not_matter(self, shared: TimmBackbone) -> None:
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            plain, channels_last = shared(x), shared(x.contiguous(memory_format=torch.channels_last))
        for name, feature in plain.items():
            torch.testing.assert_close(channels_last[name], feature, rtol=1e-3, atol=1e-4)

    def test_every_parameter_learns(self) -> None:
        backbone = self.build().train()
        shake(backbone)  # ResNets begin with blocks whose last norm has weight zero
        features = backbone(torch.randn(2, 3, 64, 96))
        sum((feature * torch.randn_like(feature)).sum() for feature in features.values()).backward()
        assert_every_parameter_learns(backbone)

    def test_state_survives_saving(self, shared: TimmBackbone, tmp_path: Any) -> None:
        torch.save(shared.state_dict(), tmp_path / "state.pth")
        torch.manual_seed(7)
        other = self.build().eval()
        other.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
        x = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            expected, found = shared(x), other(x)
        assert all(torch.equal(found[name], feature) for name, feature in expected.items())


class HeadContract:
    """Features of any sizes to logits `[B, K, ...]` at the finest one's size."""

    channels = {"res2": 4, "res3": 6, "res4": 8, "res5": 10}
    num_classes = 5
    sizes = [  # of res2 ... res5
        ((16, 24), (8, 12), (4, 6), (2, 3)),
        ((25, 53), (13, 27), (7, 14), (4, 7)),
        ((9, 9), (9, 9), (9, 9), (9, 9)),
        ((17, 5), (6, 4), (5, 1), (1, 1)),
    ]

    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        raise NotImplementedError

    def make(self) -> nn.Module:
        strides = zip(self.channels.items(), (4, 8, 16, 32), strict=True)
        return self.build({name: ShapeSpec(channels=width, stride=stride) for (name, width), stride in strides})

    def features(self, sizes: Any, batch: int = 2) -> dict[str, Tensor]:
        pairs = zip(self.channels.items(), sizes, strict=True)
        return {name: torch.randn(batch, width, *size) for (name, width), size in pairs}

    @pytest.mark.parametrize("sizes", sizes)
    def test_shape_at_any_level_ratio(self, sizes: Any) -> None:
        head = self.make().eval()
        with torch.no_grad():
            logits = head(self.features(sizes))
        assert logits.shape == (2, self.num_classes, *sizes[0])
        assert torch.isfinite(logits).all()

    def test_features_of_the_caller_are_left_alone(self) -> None:
        features = self.features(self.sizes[0])
        before = {name: feature.clone() for name, feature in features.items()}
        self.make().eval()(features)
        assert list(features) == list(before)
        assert all(torch.equal(features[name], feature) for name, feature in before.items())

    @pytest.mark.parametrize("batch", [1, 2])
    def test_every_parameter_learns_even_from_one_image(self, batch: int) -> None:
        head = self.make().train()
        logits = head(self.features(self.sizes[0], batch))
        (logits * torch.randn_like(logits)).sum().backward()
        assert_every_parameter_learns(head)

    def test_state_survives_saving(self, tmp_path: Any) -> None:
        head = self.make().eval()
        shake(head)
        torch.save(head.state_dict(), tmp_path / "state.pth")
        other = self.make().eval()
        other.load_state_dict(torch.load(tmp_path / "state.pth", weights_only=True))
        features = self.features(self.sizes[1])
        with torch.no_grad():
            assert torch.equal(other(features), head(features))
