"""The NightLab meta-architecture: detectron2's `list[dict]` in, one night segmentation per image out.

Symbols, in the paper's order: I an image `[3, H, W]` in [0, 255]; Phi_seg^I the image-level segmentor; P^I its
prediction `[K, H, W]`, as log-probabilities at the size of the frame.
"""

from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.layers import resize_to
from nightlab.modeling.segmentor import Segmentor


@META_ARCH_REGISTRY.register()
class NightLab(nn.Module):
    """The image level: `P^I = Phi_seg^I(I)`."""

    hard_class_mask: Tensor

    @configurable
    def __init__(self, *, image_level: Segmentor, num_classes: int, image_size: tuple[int, int]):
        """
        Args:
            image_level: the segmentor of full images.
            num_classes: K.
            image_size: (height, width) that frames are scaled to fit into, aspect kept; zeros keep their size.
        """
        super().__init__()
        self.image_level = image_level
        self.image_size = image_size
        # Which classes the image level finds hard: set from held-out data during training, part of the checkpoint.
        self.register_buffer("hard_class_mask", torch.zeros(num_classes, dtype=torch.bool))

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        return {
            "image_level": Segmentor(cfg),
            "num_classes": cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES,
            "image_size": tuple(cfg.INPUT.IMAGE_SIZE),
        }

    @property
    def device(self) -> torch.device:
        return self.image_level.pixel_mean.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> Any:
        """Losses in training, predictions otherwise.

        Args:
            batched_inputs: per image `image` `[3, H, W]` RGB, uint8 or float in [0, 255], the unresized frame (a crop,
                of one size per batch, in training); in training also `sem_seg` int64 `[H, W]`; at test optionally
                `height` and `width`, the size wanted for the output.

        Returns:
            In training a dict of scalar losses. At test, per image, `{"sem_seg": [K, height, width]}`:
            log-probabilities, that is logits whose softmax is the posterior.
        """
        if self.training:
            images = torch.stack([self._to_device(x["image"]) for x in batched_inputs])
            target = torch.stack([x["sem_seg"].to(self.device, non_blocking=True) for x in batched_inputs])
            return self.image_level.losses(self.image_level(images), target)
        return [
            {"sem_seg": self.log_probabilities(self._to_device(x["image"]), output_size(x))} for x in batched_inputs
        ]

    def log_probabilities(
        self, image: Tensor, size: tuple[int, int], *, scale: float = 1.0, flip: bool = False
    ) -> Tensor:
        """P^I `[K, *size]` of one frame `[3, H, W]`, seen at `scale` times the test size, mirrored where `flip`."""
        seen = self._fit(image[None], scale)
        seen = seen.flip(-1) if flip else seen
        logits = self.image_level.at_image_size(self.image_level(seen).logits, (seen.shape[-2], seen.shape[-1]))
        logits = logits.flip(-1) if flip else logits
        return resize_to(logits, size)[0].log_softmax(dim=0)

    def _fit(self, image: Tensor, scale: float) -> Tensor:
        """The frame scaled, aspect kept, to fit into `image_size` times `scale` (anti-aliased where it shrinks)."""
        height, width = image.shape[-2:]
        box_height, box_width = self.image_size if all(self.image_size) else (height, width)
        ratio = scale * min(box_height / height, box_width / width)
        size = (max(round(height * ratio), 1), max(round(width * ratio), 1))
        if size == (height, width):
            return image
        return F.interpolate(image, size=size, mode="bilinear", align_corners=False, antialias=ratio < 1)

    def _to_device(self, image: Tensor) -> Tensor:
        return image.to(self.device, non_blocking=True).float()


def output_size(record: dict[str, Any]) -> tuple[int, int]:
    """Height and width wanted for an input dict's output: its `height` and `width`, or those of its image."""
    height, width = record["image"].shape[-2:]
    return record.get("height", height), record.get("width", width)
