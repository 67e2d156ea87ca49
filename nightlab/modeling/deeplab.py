"""DeepLabV3+'s decode head, detectron2's own, as a head of NightLab's segmentor: features in, logits out.

Source: Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation (ECCV 2018).
"""

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from detectron2.projects.deeplab import DeepLabV3PlusHead
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.errors import InputError


@SEM_SEG_HEADS_REGISTRY.register()
class DeepLabV3PlusLogits(nn.Module):
    """Spatial pyramid on the coarsest of `IN_FEATURES`, then one decoder stage for each finer one.

    Logits have the size of the finest; the segmentor computes the loss, as for any head.
    """

    @configurable
    def __init__(self, *, head: DeepLabV3PlusHead, pool: tuple[int, int] | None = None):
        """`pool`: rows and columns of the coarsest feature that image pooling averages over; None: all of it."""
        super().__init__()
        self.head = head
        if pool:
            pyramid: Any = head.decoder[head.in_features[-1]]["project_conv"]
            pyramid.convs[-1][0] = WindowPool(pool)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        head = cfg.MODEL.SEM_SEG_HEAD
        names = list(head.IN_FEATURES)
        if missing := [name for name in names if name not in input_shape]:
            raise InputError(f"MODEL.SEM_SEG_HEAD.IN_FEATURES: {missing[0]} is not one of {', '.join(input_shape)}")
        if len(head.PROJECT_CHANNELS) != len(names) - 1:
            raise InputError(
                f"MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS: {len(head.PROJECT_CHANNELS)} widths for the {len(names) - 1} "
                "features of IN_FEATURES that are not the coarsest; give one for each"
            )
        stride = max(int(input_shape[name].stride or 0) for name in names)
        if len(head.ASPP_POOL) not in (0, 2) or any(length < stride for length in head.ASPP_POOL):
            raise InputError(
                "MODEL.SEM_SEG_HEAD.ASPP_POOL: give the height and width of the training crops, or nothing"
            )
        return {
            "pool": tuple(length // stride for length in head.ASPP_POOL) or None,
            "head": DeepLabV3PlusHead(
                {name: input_shape[name] for name in names},
                project_channels=head.PROJECT_CHANNELS,
                aspp_dilations=head.ASPP_DILATIONS,
                aspp_dropout=head.DROPOUT,
                decoder_channels=[head.CONVS_DIM] * (len(names) - 1) + [head.ASPP_CHANNELS],
                common_stride=min(input_shape[name].stride for name in names),
                norm=head.NORM,
                train_size=None,  # its own pooling takes multiples of that alone
                ignore_value=head.IGNORE_VALUE,
                num_classes=head.NUM_CLASSES,
            ),
        }

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """`[B, K, h, w]` at the size of the finest feature used."""
        return self.head.layers(features)


class WindowPool(nn.Module):
    """Means over all windows of a size, in their order; where `[B, C, h, w]` is smaller, over the whole."""

    def __init__(self, size: tuple[int, int]):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        height, width = int(x.shape[-2]), int(x.shape[-1])
        return F.avg_pool2d(x, (min(self.size[0], height), min(self.size[1], width)), stride=1)
