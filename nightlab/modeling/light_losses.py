"""What trains the light adaptation: `L_light = L_S + L_P(D)`, structural similarity and a patch discriminator.

A full translation has CycleGAN's losses in place of L_S. One forward gives the losses of both players: the generator's
go through a discriminator whose weights are held fixed, the discriminator's see detached images. So one backward, one
optimiser, one scaler and one DistributedDataParallel serve both, and resuming needs nothing more.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from detectron2.config import CfgNode
from pytorch_msssim import ssim  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nightlab.light_kinds import TRAINED
from nightlab.modeling.layers import groups_of_eight
from nightlab.modeling.light import Translator

# What the convolutions of a `PatchDiscriminator` take at least.
SMALLEST_JUDGED = 12


class PatchDiscriminator(nn.Module):
    """PatchGAN: `[B, inputs, H, W]` to one score per patch `[B, 1, h, w]`, above 0.5 for day; images in [-1, 1].

    Two convolutions of stride two and one of stride one see 34 pixels of the image; light has no finer structure.
    """

    def __init__(self, channels: int = 32, inputs: int = 3):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, channels, 4, stride=2, padding=1),
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


Adapter = Callable[[Tensor], Tensor]


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

    def forward(self, images: Tensor, adapted: Tensor, day: Tensor, adapt: Adapter) -> LightOutcome:
        """
        Args:
            images, adapted: night images `[B, 3, H, W]` in [0, 255] and what adaptation made of them.
            day: day images, which pass the adaptation, too, and should come out as they are.
            adapt: the adaptation.
        """
        structure = dissimilarity(images, adapted) + dissimilarity(day, adapt(day))
        game = play(self.discriminator, _signed(day), _signed(adapted))
        losses = {
            "loss_light_ssim": self.ssim_weight * structure,
            "loss_light_gan": self.gan_weight * game.fooling,
            "loss_light_discriminator": game.telling,
        }
        return LightOutcome(losses, game.accuracy)


class CycleLosses(nn.Module):
    """CycleGAN's losses, for a full translation G from night to day: with a translation back, F, which is thrown away.

    `F(G(night))` and `G(F(day))` should be what they were (L1), G should leave day alone and F night (L1, at half the
    weight), and two discriminators judge G's days and F's nights (Zhu et al., ICCV 2017, equations 1 to 3).
    """

    def __init__(self, *, back: Translator, cycle_weight: float, gan_weight: float, channels: int = 32):
        super().__init__()
        self.back = back
        self.discriminator = PatchDiscriminator(channels)
        self.night_discriminator = PatchDiscriminator(channels)
        self.cycle_weight = cycle_weight
        self.gan_weight = gan_weight

    def forward(self, images: Tensor, adapted: Tensor, day: Tensor, adapt: Adapter) -> LightOutcome:
        """As `LightLosses.forward`; the accuracy is that of the discriminator of days."""
        darkened = self.back(day)
        cycle = _distance(self.back(adapted), images) + _distance(adapt(darkened), day)
        identity = _distance(adapt(day), day) + _distance(self.back(images), images)
        days = play(self.discriminator, _signed(day), _signed(adapted))
        nights = play(self.night_discriminator, _signed(images), _signed(darkened))
        losses = {
            "loss_light_cycle": self.cycle_weight * cycle,
            "loss_light_identity": 0.5 * self.cycle_weight * identity,
            "loss_light_gan": self.gan_weight * (days.fooling + nights.fooling),
            "loss_light_discriminator": days.telling + nights.telling,
        }
        return LightOutcome(losses, days.accuracy)


class Game(NamedTuple):
    """One round of a least-squares GAN: the generator's loss, the discriminator's, how often the latter is right."""

    fooling: Tensor
    telling: Tensor
    accuracy: Tensor


def play(discriminator: PatchDiscriminator, real: Tensor, made: Tensor) -> Game:
    """Real against made `[B, C, H, W]`, as the discriminator takes them; neither loss has a gradient for the other's
    player."""
    fixed = {name: p.detach() for name, p in discriminator.named_parameters()}
    fooled = functional_call(discriminator, fixed, (made,)).float()
    of_real = discriminator(real.detach()).float()
    of_made = discriminator(made.detach()).float()
    right = (of_real > 0.5).float().mean() + (of_made <= 0.5).float().mean()
    return Game(
        (fooled - 1).square().mean(),
        0.5 * (of_real - 1).square().mean() + 0.5 * of_made.square().mean(),
        right.detach() / 2,
    )


def build_light_losses(cfg: CfgNode) -> LightLosses | CycleLosses | None:
    """The losses of the light adaptation that MODEL.LIGHT describes; None where it is not trained."""
    light = cfg.MODEL.LIGHT
    if light.NAME not in TRAINED:
        return None
    game = {"gan_weight": light.GAN_WEIGHT, "channels": light.DISCRIMINATOR_CHANNELS}
    if light.NAME == "relam":
        return LightLosses(ssim_weight=light.SSIM_WEIGHT, **game)
    back = Translator(channels=light.CHANNELS, blocks=light.BLOCKS)
    return CycleLosses(back=back, cycle_weight=light.CYCLE_WEIGHT, **game)


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


def _distance(images: Tensor, others: Tensor) -> Tensor:
    """Mean absolute difference, as a share of white."""
    return (images.float() - others.float()).abs().mean() / 255


def _signed(images: Tensor) -> Tensor:
    return images / 127.5 - 1
