"""PSPNet's decode head: pyramid pooling on one feature, then the classifier.

Source: Zhao et al., Pyramid Scene Parsing Network (CVPR 2017).
"""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from torch import Tensor, nn

from nightlab.errors import InputError
from nightlab.modeling.layers import classifier
from nightlab.modeling.upernet import PyramidPooling


@SEM_SEG_HEADS_REGISTRY.register()
class PSPHead(nn.Module):
    """The last of `IN_FEATURES` `[B, C, h, w]` (of stride 8 in the paper, by dilation) to logits `[B, K, h, w]`."""

    @configurable
    def __init__(
        self,
        input_shape: dict[str, ShapeSpec],
        *,
        in_feature: str,
        num_classes: int,
        channels: int,
        norm: str = "BN",
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.1,
    ):
        """
        Args:
            input_shape: channels and stride of each feature.
            channels: width of each branch of the pyramid and of what mixes them.
            dropout: share of channels dropped before the classifier, in training.
        """
        super().__init__()
        self.in_feature = in_feature
        width = int(input_shape[in_feature].channels or 0)
        self.pooling = PyramidPooling(width, channels, pool_scales=pool_scales, norm=norm)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = classifier(channels, num_classes)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        name = head.IN_FEATURES[-1]
        if name not in input_shape:
            raise InputError(f"MODEL.SEM_SEG_HEAD.IN_FEATURES: {name} is not one of {', '.join(input_shape)}")
        return {
            "input_shape": input_shape,
            "in_feature": name,
            "num_classes": head.NUM_CLASSES,
            "channels": head.CONVS_DIM,
            "norm": head.NORM,
            "pool_scales": head.POOL_SCALES,
            "dropout": head.DROPOUT,
        }

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        return self.classifier(self.dropout(self.pooling(features[self.in_feature])))
