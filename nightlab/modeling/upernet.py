"""UPerNet's decode head (pyramid pooling, FPN, fusion) and the auxiliary FCN head.

Symbols: B images; features `res2` .. `res5` of strides 4 .. 32; C the head's width; K classes. Both heads map the
backbone's features to logits `[B, K, H/4, W/4]` (FCN: at its feature's own stride).
Source: Xiao et al., Unified Perceptual Parsing for Scene Understanding (ECCV 2018); deformable: NightLab, Table 4.
"""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.folding import apply, fold
from nightlab.modeling.layers import classifier, conv_norm_relu, resize_to
from nightlab.modeling.resized_conv import conv_of_resized, textbook


def mix(block: nn.Sequential, levels: Sequence[Tensor]) -> Tensor:
    """What `block`, of convolution, norm and ReLU, makes of `levels` `[B, C_i, h_i, w_i]` at the first one's size."""
    conv = block[0]
    kernel = fold(block)
    if kernel is not None:
        return conv_of_resized(kernel, levels).relu_()
    return block[1:](conv_of_resized(conv, levels) if isinstance(conv, nn.Conv2d) else textbook(conv, levels))


class PyramidPooling(nn.Module):
    """`[B, in, h, w] -> [B, C, h, w]`: the feature beside its averages over grids of `pool_scales`, mixed by a 3x3."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        pool_scales: Sequence[int],
        norm: str,
        deformable: bool = False,
        modulated: bool = True,
    ):
        super().__init__()
        self.pool_scales = tuple(pool_scales)
        self.branches = nn.ModuleList(conv_norm_relu(in_channels, channels, norm=norm) for _ in self.pool_scales)
        mixed = in_channels + channels * len(self.pool_scales)
        self.bottleneck = conv_norm_relu(mixed, channels, 3, norm=norm, deformable=deformable, modulated=modulated)

    def forward(self, x: Tensor) -> Tensor:
        pooled = [
            apply(branch, F.adaptive_avg_pool2d(x, scale))
            for branch, scale in zip(self.branches, self.pool_scales, strict=True)
        ]
        return mix(self.bottleneck, [x, *pooled])


@SEM_SEG_HEADS_REGISTRY.register()
class UPerNetHead(nn.Module):
    """Pyramid pooling on the coarsest feature, a top-down FPN, and fusion of all levels at the finest one's size."""

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        in_features: Sequence[str],
        num_classes: int,
        channels: int,
        norm: str = "BN",
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
        deform_fpn: bool = False,
        deform_head: bool = False,
        modulated: bool = True,
    ):
        """
        Args:
            input_shape: channels and stride of each feature.
            in_features: names of the features used, finest first.
            channels: C, the width of every level.
            dropout: share of channels dropped before the classifier, in training.
            deform_fpn, deform_head: deformable 3x3 in the FPN; in pooling bottleneck and fusion.
            modulated: whether the deformable convolutions are of version 2.
        """
        super().__init__()
        self.in_features = tuple(in_features)
        widths = [input_shape[name].channels for name in self.in_features]
        self.pooling = PyramidPooling(
            widths[-1], channels, pool_scales=pool_scales, norm=norm, deformable=deform_head, modulated=modulated
        )
        self.laterals = nn.ModuleList(conv_norm_relu(width, channels, norm=norm) for width in widths[:-1])
        self.fpn = nn.ModuleList(
            conv_norm_relu(channels, channels, 3, norm=norm, deformable=deform_fpn, modulated=modulated)
            for _ in widths[:-1]
        )
        self.fusion = conv_norm_relu(
            channels * len(widths), channels, 3, norm=norm, deformable=deform_head, modulated=modulated
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = classifier(channels, num_classes)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": input_shape,
            "in_features": head.IN_FEATURES,
            "num_classes": head.NUM_CLASSES,
            "channels": head.CONVS_DIM,
            "norm": head.NORM,
            "pool_scales": head.POOL_SCALES,
            "dropout": head.DROPOUT,
            "deform_fpn": head.DEFORM_FPN,
            "deform_head": head.DEFORM_HEAD,
            "modulated": head.DEFORM_MODULATED,
        }

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        inputs = [features[name] for name in self.in_features]
        top = self.pooling(inputs[-1])
        levels = [top]
        for lateral, conv, x in zip(reversed(self.laterals), reversed(self.fpn), reversed(inputs[:-1]), strict=True):
            lateral_x = apply(lateral, x)
            top = lateral_x + resize_to(top, (lateral_x.shape[-2], lateral_x.shape[-1]))
            levels.insert(0, apply(conv, top))
        # Two thirds of the head's multiply-adds, so not on maps that are merely enlarged where that can be helped.
        return self.classifier(self.dropout(mix(self.fusion, levels)))


class FCNHead(nn.Module):
    """One 3x3 convolution and a classifier on one feature: the auxiliary head of the Swin-UPerNet recipe."""

    def __init__(self, in_channels: int, channels: int, num_classes: int, *, norm: str = "BN", dropout: float = 0.1):
        super().__init__()
        self.conv = conv_norm_relu(in_channels, channels, 3, norm=norm)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = classifier(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.dropout(self.conv(x)))
