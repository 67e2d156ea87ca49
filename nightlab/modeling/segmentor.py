"""One level of NightLab: normalise, backbone, decode head; the same class serves images and, later, regions."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_backbone, build_sem_seg_head
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from nightlab.errors import InputError
from nightlab.light_panels import light_panels
from nightlab.modeling.inference import in_precision
from nightlab.modeling.layers import resize_to
from nightlab.modeling.light import build_light
from nightlab.modeling.light_losses import CycleLosses, LightLosses, build_light_losses
from nightlab.modeling.losses import count_valid, segmentation_loss
from nightlab.modeling.strips import RowMap
from nightlab.modeling.upernet import FCNHead


class SegmentorOutput(NamedTuple):
    """Logits `[B, K, h, w]` of the decode head and of the auxiliary head, over the padded images.

    `image` are the normalised, padded images and `features` what the backbone made of them, for the hardness detector;
    `adapted` are the images `[B, 3, H, W]` in [0, 255] after light adaptation.
    """

    logits: Tensor
    aux_logits: Tensor | None
    image: Tensor
    features: dict[str, Tensor]
    adapted: Tensor


class Segmentor(nn.Module):
    """Images `[B, 3, H, W]` in [0, 255] to logits `[B, K, H/4, W/4]`; any height and width.

    Light adaptation, where there is one, comes first.
    """

    pixel_mean: Tensor
    pixel_std: Tensor
    class_weights: Tensor | None

    @configurable
    def __init__(
        self,
        *,
        backbone: nn.Module,
        decode_head: nn.Module,
        aux_head: nn.Module | None,
        aux_feature: str,
        aux_weight: float,
        pixel_mean: list[float],
        pixel_std: list[float],
        ignore_label: int,
        class_weights: Sequence[float] = (),
        channels_last: bool = False,
        checkpoint_head: bool = False,
        light: nn.Module | None = None,
        light_losses: LightLosses | CycleLosses | None = None,
    ):
        """
        Args:
            class_weights: what a pixel of each class counts in the loss, K numbers; empty: all the same.
            checkpoint_head: compute the decode head a second time in the backward pass, instead of keeping its maps.
            light: maps images in [0, 255] to such images.
            light_losses: what trains `light` beside the segmentation.
        """
        super().__init__()
        self.precision = torch.float32  # of testing, where `inference.prepare` sets another
        self.light = light
        self.light_losses = light_losses
        self.backbone = backbone
        self.decode_head = decode_head
        self.aux_head = aux_head
        self.aux_feature = aux_feature
        self.aux_weight = aux_weight
        self.ignore_label = ignore_label
        self.checkpoint_head = checkpoint_head
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.register_buffer("pixel_mean", torch.tensor(pixel_mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(pixel_std).view(1, 3, 1, 1), persistent=False)
        weights = torch.tensor(class_weights) if len(class_weights) else None
        self.register_buffer("class_weights", weights, persistent=False)
        self.to(memory_format=self.memory_format)

    @classmethod
    def from_config(cls, cfg: CfgNode, level: str = "image") -> dict[str, Any]:
        """`level`, image or region, says whether MODEL.LIGHT.LEVELS gives this segmentor a light adaptation."""
        backbone = build_backbone(cfg, ShapeSpec(channels=3))
        features = backbone.output_shape()
        aux, head = cfg.MODEL.AUX_HEAD, cfg.MODEL.SEM_SEG_HEAD
        aux_head = None
        if aux.LOSS_WEIGHT > 0:
            width = features[aux.IN_FEATURE].channels
            aux_head = FCNHead(width, aux.CONVS_DIM, head.NUM_CLASSES, norm=head.NORM, dropout=head.DROPOUT)
        return {
            "backbone": backbone,
            "decode_head": build_sem_seg_head(cfg, features),
            "aux_head": aux_head,
            "aux_feature": aux.IN_FEATURE,
            "aux_weight": aux.LOSS_WEIGHT,
            "pixel_mean": cfg.MODEL.PIXEL_MEAN,
            "pixel_std": cfg.MODEL.PIXEL_STD,
            "ignore_label": head.IGNORE_VALUE,
            "class_weights": _class_weights(cfg),
            "channels_last": cfg.MODEL.CHANNELS_LAST,
            "checkpoint_head": head.CHECKPOINT_ACTIVATIONS,
            "light": build_light(cfg) if level in cfg.MODEL.LIGHT.LEVELS else None,
            "light_losses": build_light_losses(cfg) if level in cfg.MODEL.LIGHT.LEVELS else None,
        }

    @property
    def own_segmentor(self) -> "Segmentor":
        """Itself; for the region level, which wraps one, the one that it wraps."""
        return self

    @property
    def step(self) -> int:
        """Images are padded to multiples of this, the backbone's finest stride."""
        return int(self.backbone.size_divisibility)  # type: ignore[arg-type]

    def adapt(self, images: Tensor) -> Tensor:
        """Images after the light adaptation; themselves where there is none."""
        return images if self.light is None else self.light(images)

    def forward(self, images: Tensor) -> SegmentorOutput:
        """The auxiliary head runs in training only."""
        adapted = self.adapt(images)
        x = (adapted - self.pixel_mean) / self.pixel_std
        # Zeros are the mean colour here, as in detectron2's ImageList.
        x = self._pad(x, 0).contiguous(memory_format=self.memory_format)
        with in_precision(self, self.precision, x.device):
            features = self.backbone(x)
            if self.training and self.checkpoint_head:
                logits = checkpoint(self.decode_head, features, use_reentrant=False)
            else:
                logits = self.decode_head(features)
        aux_logits = self.aux_head(features[self.aux_feature]) if self.training and self.aux_head else None
        return SegmentorOutput(logits, aux_logits, x, features, adapted)

    def losses(
        self,
        output: SegmentorOutput,
        target: Tensor,
        divisor: Tensor | None = None,
        hard: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Cross entropy of both heads against `target` `[B, H, W]` (int64, class ids or the ignore label); `divisor`
        and `hard` as of `segmentation_loss`."""
        target = self._pad(target, self.ignore_label)
        args = (target, self.ignore_label, self.class_weights, divisor, hard)
        losses = {"loss_sem_seg": segmentation_loss(output.logits, *args)}
        if output.aux_logits is not None:
            losses["loss_aux"] = self.aux_weight * segmentation_loss(output.aux_logits, *args)
        return losses

    def count_valid(self, target: Tensor, hard: Tensor | None = None) -> Tensor:
        """What the cross entropy of a batch is divided by, of this process alone."""
        return count_valid(target, self.ignore_label, self.class_weights, hard)

    def adaptation_losses(self, images: Tensor, adapted: Tensor, day: Tensor) -> dict[str, Tensor]:
        """Losses of the light adaptation (see `LightLosses`); how the discriminator does goes to the event storage."""
        assert self.light_losses is not None
        outcome = self.light_losses(images, adapted, day, self.adapt)
        storage = get_event_storage()
        if storage.iter % 20 == 0:  # writing it down waits for the device
            storage.put_scalar("light/discriminator_accuracy", outcome.accuracy)
            storage.put_scalar("light/added", (adapted - images).detach().mean() / 255)
        # Early, so that one sees whether it learns, but not before it can; what other processes drew, nobody fetched.
        if storage.iter % 500 == 100 and comm.is_main_process():
            storage.put_image("light", torch.from_numpy(self._light_panels(images[:1])).permute(2, 0, 1))
        return outcome.losses

    @torch.no_grad()
    def _light_panels(self, image: Tensor) -> np.ndarray:
        """What the light adaptation makes of an image `[1, 3, H, W]` as it is kept: by the average over steps."""
        assert self.light is not None
        training = self.light.training
        kept = self.light.eval()(image)
        self.light.train(training)
        first = (x[0].round().clamp(0, 255).byte().permute(1, 2, 0).cpu().numpy() for x in (image, kept))
        return light_panels(*first)

    def at_image_size(self, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """Logits `[B, K, h, w]` of images of `size` (H, W), resized and cut to `[B, K, H, W]`."""
        return resize_to(logits.float(), self._padded(size))[..., : size[0], : size[1]]

    def map_at_image_size(self, logits: Tensor, size: tuple[int, int]) -> RowMap:
        """As `at_image_size`, for the logits `[K, h, w]` of one image, and to be read by rows."""
        return RowMap.of(logits.float().contiguous()).resized(self._padded(size)).cut(size)

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        height, width = size
        return height + -height % self.step, width + -width % self.step

    def _pad(self, x: Tensor, value: float) -> Tensor:
        """Pads right and below to a multiple of `step`."""
        return F.pad(x, (0, -x.shape[-1] % self.step, 0, -x.shape[-2] % self.step), value=value)


def _class_weights(cfg: CfgNode) -> list[float]:
    """MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS, refused where they are not one number for each class."""
    head = cfg.MODEL.SEM_SEG_HEAD
    weights = [float(weight) for weight in head.CLASS_WEIGHTS]
    if weights and len(weights) != head.NUM_CLASSES:
        raise InputError(
            f"MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS: {len(weights)} weights for {head.NUM_CLASSES} classes; "
            "give one for each, or none"
        )
    return weights
