"""What trains the light adaptation: SSIM against another implementation, and two players that do not touch."""

import pytest
import torch
from torch import nn
from torchmetrics.functional.image import structural_similarity_index_measure

from nightlab.modeling.light import Translator
from nightlab.modeling.light_losses import (
    CycleLosses,
    LightLosses,
    PatchDiscriminator,
    build_light_losses,
    dissimilarity,
)


def noisy(height, width):
    x = 255 * torch.rand(2, 3, height, width)
    return x, (x + 20 * torch.randn_like(x)).clamp(0, 255)


@pytest.mark.parametrize("size", [(64, 64), (40, 57)])
def test_ssim_agrees_with_torchmetrics_inside(size):
    """torchmetrics also counts windows that reach over the border, reflected; constant borders make both the same."""
    x, y = noisy(*size)
    for image in (x, y):
        image[..., :10, :] = image[..., -10:, :] = image[..., :, :10] = image[..., :, -10:] = 128
    _, theirs = structural_similarity_index_measure(x, y, data_range=255.0, return_full_image=True)
    ours = dissimilarity(x, y)
    assert ours.item() == pytest.approx(1 - theirs[..., 5:-5, 5:-5].mean().item(), abs=1e-4)


@pytest.mark.parametrize("size", [(11, 40), (7, 7), (3, 9), (1, 1)])
def test_small_images(size):
    x, y = noisy(*size)
    assert dissimilarity(x, x).item() == pytest.approx(0, abs=1e-5)
    assert 0 <= dissimilarity(x, y) <= 2


def test_ssim_in_mixed_precision_is_in_full():
    x, y = noisy(32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = dissimilarity(x, y)
    torch.testing.assert_close(mixed, dissimilarity(x, y))


def test_the_players_do_not_touch():
    losses = LightLosses(ssim_weight=1.0, gan_weight=1.0, channels=8)
    night, day = noisy(32, 32)
    adapted = (night + 5).requires_grad_()
    outcome = losses(night, adapted, day, torch.clone)
    generator = outcome.losses["loss_light_ssim"] + outcome.losses["loss_light_gan"]
    generator.backward(retain_graph=True)
    assert adapted.grad.abs().sum() > 0 and all(p.grad is None for p in losses.parameters())
    adapted.grad = None
    outcome.losses["loss_light_discriminator"].backward()
    assert adapted.grad is None and all(p.grad is not None for p in losses.parameters())


def test_the_discriminator_learns_to_tell_day_from_night():
    torch.manual_seed(0)
    losses = LightLosses(ssim_weight=0.0, gan_weight=0.0, channels=8)
    optimizer = torch.optim.AdamW(losses.parameters(), 3e-3)
    for _ in range(40):
        night, day = 60 * torch.rand(2, 3, 32, 32), 120 + 60 * torch.rand(2, 3, 32, 32)
        outcome = losses(night, night, day, torch.clone)
        optimizer.zero_grad()
        sum(outcome.losses.values()).backward()
        optimizer.step()
    assert outcome.accuracy > 0.95


@pytest.mark.parametrize("size", [(16, 16), (33, 47)])
def test_patches_of_any_size(size):
    assert PatchDiscriminator(8)(torch.randn(1, 3, *size)).shape[:2] == (1, 1)


class Shift(nn.Module):
    def __init__(self, by):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(float(by)))

    def forward(self, images):
        return images + self.by


def test_a_cycle_that_closes_costs_nothing_but_its_identity_does():
    there, back = Shift(51), Shift(-51)
    losses = CycleLosses(back=back, cycle_weight=1.0, gan_weight=1.0, channels=8)
    night, day = 100 * torch.rand(2, 3, 32, 32), 100 + 100 * torch.rand(2, 3, 32, 32)
    outcome = losses(night, there(night), day, there)
    assert outcome.losses["loss_light_cycle"].item() == pytest.approx(0, abs=1e-6)
    # half of (51 + 51) / 255
    assert outcome.losses["loss_light_identity"].item() == pytest.approx(0.2, abs=1e-6)
    torn = losses(night, there(night) + 25.5, day, there)
    assert torn.losses["loss_light_cycle"].item() == pytest.approx(0.1, abs=1e-5)


def test_a_translation_leaves_the_identity_that_it_starts_from(nano_cfg):
    """There both L1 losses are least: weights that hold it there let the discriminator win."""
    torch.manual_seed(0)
    nano_cfg.MODEL.LIGHT.NAME, nano_cfg.MODEL.LIGHT.DISCRIMINATOR_CHANNELS = "translation", 8
    nano_cfg.MODEL.LIGHT.CHANNELS, nano_cfg.MODEL.LIGHT.BLOCKS = 8, 1
    there, losses = Translator(channels=8, blocks=1), build_light_losses(nano_cfg)
    players = [*there.parameters(), *losses.parameters()]
    optimizer = torch.optim.Adam(players, 1e-3, betas=(0.5, 0.999))
    for _ in range(60):
        night, day = 60 * torch.rand(1, 3, 16, 16), 120 + 60 * torch.rand(1, 3, 16, 16)
        optimizer.zero_grad()
        sum(losses(night, there(night), day, there).losses.values()).backward()
        optimizer.step()
    assert (there(night) - night).mean() > 10


def test_the_four_players_of_a_cycle_do_not_touch():
    there, back = Shift(20), Shift(-30)
    losses = CycleLosses(back=back, cycle_weight=1.0, gan_weight=1.0, channels=8)
    night, day = 100 * torch.rand(2, 3, 32, 32), 100 + 100 * torch.rand(2, 3, 32, 32)
    judges = [*losses.discriminator.parameters(), *losses.night_discriminator.parameters()]
    outcome = losses(night, there(night), day, there)
    (outcome.losses["loss_light_gan"] + outcome.losses["loss_light_cycle"]).backward(retain_graph=True)
    assert there.by.grad is not None and back.by.grad is not None and all(p.grad is None for p in judges)
    there.by.grad = back.by.grad = None
    outcome.losses["loss_light_discriminator"].backward()
    assert there.by.grad is None and back.by.grad is None and all(p.grad is not None for p in judges)
