"""What trains the light adaptation: `L_light = L_S + L_P(D)`, structural similarity and a patch discriminator.

One forward gives the losses of both players: the generator's go through a discriminator whose weights are held fixed,
the discriminator's see detached images. So one backward, one optimiser with a group for the discriminator, one scaler
and one DistributedDataParallel serve both, and resuming needs nothing more.
"""

from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from pytorch_msssim import ssim  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nightlab.modeling.layers import groups_of_eight
from nightlab.modeling.light import TRAINED


class PatchDiscriminator(nn.Module):
    """PatchGAN: `[B, 3, H, W]` in [-1, 1] to one score per patch `[B, 1, h, w]`, above 0.5 for day.

    Two convolutions of stride two and one of stride one see 34 pixels of the image; light has no finer structure.
    """

    def __init__(self, channels: int = 32):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels, 2 * channels, 4, stride=2, padding=1),
            groups_of_eight(2 * channels),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * channels, 4 * channels, 4, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(4 * channels, 1, 4, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class LightOutcome(NamedTuple):
    """Losses to sum, and how often the discriminator is right (0...1, over patches of both kinds)."""

    losses: dict[str, Tensor]
    accuracy: Tensor


class LightLosses(nn.Module):
    """Losses of images before and after adaptation, against day images that need not show the same places."""

    def __init__(self, *, ssim_weight: float, gan_weight: float, channels: int = 32):
        super().__init__()
        self.discriminator = PatchDiscriminator(channels)
        self.ssim_weight = ssim_weight
        self.gan_weight = gan_weight

    def forward(self, images: Tensor, adapted: Tensor, day: Tensor, adapted_day: Tensor) -> LightOutcome:
        """
        Args:
            images, adapted: night images `[B, 3, H, W]` in [0, 255] and what adaptation made of them.
            day, adapted_day: the same of day images, which pass the adapter, too, and should come out as they are.
        """
        structure = dissimilarity(images, adapted) + dissimilarity(day, adapted_day)
        fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        fooled = functional_call(self.discriminator, fixed, (_signed(adapted),)).float()
        of_day = self.discriminator(_signed(day)).float()
        of_night = self.discriminator(_signed(adapted.detach())).float()
        losses = {
            "loss_light_ssim": self.ssim_weight * structure,
            "loss_light_gan": self.gan_weight * F.mse_loss(fooled, torch.ones_like(fooled)),
            "loss_light_discriminator": 0.5 * (of_day - 1).square().mean() + 0.5 * of_night.square().mean(),
        }
        right = (of_day > 0.5).float().mean() + (of_night <= 0.5).float().mean()
        return LightOutcome(losses, right.detach() / 2)


def build_light_losses(cfg: CfgNode) -> LightLosses | None:
    """The losses of the light adaptation that MODEL.LIGHT describes; None where it is not trained."""
    light = cfg.MODEL.LIGHT
    if light.NAME not in TRAINED:
        return None
    return LightLosses(
        ssim_weight=light.SSIM_WEIGHT, gan_weight=light.GAN_WEIGHT, channels=light.DISCRIMINATOR_CHANNELS
    )


def dissimilarity(images: Tensor, others: Tensor) -> Tensor:
    """1 - SSIM in 0...1 (to 2 for opposites), averaged over a batch of images `[B, 3, H, W]` in [0, 255].

    Gaussian windows of 11 pixels, smaller in images that are smaller; in full precision, since variances are small
    differences of squares.
    """
    if min(images.shape[-2:]) == 1:  # the library takes an axis of one pixel for none
        images, others = (F.pad(x, (0, 1, 0, 1), mode="replicate") for x in (images, others))
    window = min(11, *((size - 1) // 2 * 2 + 1 for size in images.shape[-2:]))
    with torch.autocast(images.device.type, enabled=False):
        return 1 - ssim(images.float(), others.float(), data_range=255.0, win_size=window)


def _signed(images: Tensor) -> Tensor:
    return images / 127.5 - 1
