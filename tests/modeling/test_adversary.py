"""Adversarial adaptation: losses worked out by hand, players that do not touch, and padding that tells nothing."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from nightlab.errors import InputError
from nightlab.modeling.adversary import Adversary, with_own_adversary

from .contracts import pointwise_segmentor, tiny_config


def reading_class_0(weight: float) -> Adversary:
    """Its discriminator's score is the probability of class 0."""
    adversary = Adversary(num_classes=3, weight=weight, channels=8)
    score = nn.Conv2d(3, 1, 1, bias=False)
    with torch.no_grad():
        score.weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
    adversary.discriminator = score  # type: ignore[assignment]
    return adversary


def logits(*probabilities: float) -> torch.Tensor:
    return torch.tensor(probabilities).log().view(1, 3, 1, 1).expand(2, 3, 12, 16)


def test_losses_by_hand() -> None:
    source, target = logits(0.75, 0.125, 0.125), logits(0.25, 0.5, 0.25)
    found = reading_class_0(weight=0.5)(source, target)
    # half of (1 - 0.75)^2 and half of 0.25^2
    assert found.losses["loss_adapt_discriminator"].item() == pytest.approx(0.0625)
    assert found.losses["loss_adapt_fooling"].item() == pytest.approx(0.5 * (1 - 0.25) ** 2)
    assert found.accuracy == 1


def test_both_maps_are_empty_where_the_source_is_padding() -> None:
    valid = torch.zeros(2, 1, 48, 64, dtype=torch.bool)
    valid[..., :32] = True
    found = reading_class_0(weight=1.0)(logits(1, 1e-9, 1e-9), logits(0.25, 0.5, 0.25), valid)
    # half of (0 + 1) / 2 and half of (0.25^2 + 0) / 2; the empty half of the target's looks like the source's
    assert found.losses["loss_adapt_discriminator"].item() == pytest.approx(0.25 + 0.015625)
    assert found.losses["loss_adapt_fooling"].item() == pytest.approx((0.75**2 + 1) / 2)
    assert found.accuracy == 0.75


@pytest.mark.parametrize("mixed", [False, True])
def test_the_players_do_not_touch_and_the_target_has_no_labels(mixed: bool) -> None:
    level, adversary = pointwise_segmentor(3), Adversary(num_classes=3, weight=1.0, channels=8)
    source, target = 255 * torch.rand(2, 3, 64, 96), 255 * torch.rand(2, 3, 64, 96)
    labels = torch.randint(0, 3, (2, 64, 96))
    with EventStorage() as storage, torch.autocast("cpu", torch.bfloat16, enabled=mixed):
        losses = adversary.losses(level, source, target, labels)
        alone = level.losses(level(source), labels)["loss_sem_seg"]
    assert 0 <= storage.latest()["adapt/discriminator_accuracy"][0] <= 1
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    torch.testing.assert_close(losses["loss_sem_seg"], alone)
    judge, mine = list(adversary.parameters()), level.decode_head.classifier.weight
    losses["loss_adapt_fooling"].backward(retain_graph=True)
    assert mine.grad.abs().sum() > 0 and all(p.grad is None for p in judge)
    mine.grad = None
    losses["loss_adapt_discriminator"].backward()
    assert mine.grad is None and all(p.grad is not None for p in judge)


def test_only_the_image_level_and_the_adversary_learn() -> None:
    light = ("MODEL.LIGHT.NAME", "relam", "MODEL.REGION.ENABLED", "True")
    model = build_model(tiny_config("MODEL.NIGHTLAB.STAGE", "adapt", *light))
    learning = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert learning == {"image_level", "adversary"} and not model.learns_light
    assert not any(p.requires_grad for p in model.image_level.light.parameters())
    plain = build_model(tiny_config(*light))
    assert plain.adversary is None, "other stages pay nothing"
    # Checkpoints of other stages start this one, and its own start them; its own resume it as they are.
    state = model.state_dict()
    assert with_own_adversary(state, plain).keys() == plain.state_dict().keys()
    started = with_own_adversary(plain.state_dict(), model)
    assert started.keys() == state.keys()
    assert all(torch.equal(started[name], state[name]) for name in state if name.startswith("adversary."))
    assert with_own_adversary(state, model) is state


def test_crops_that_are_too_small() -> None:
    with pytest.raises(InputError, match=r"INPUT\.CROP_SIZE: the stage adapt sees maps of 8x16"):
        Adversary(num_classes=3, weight=1.0)(torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 8, 16))
    smallest = torch.zeros(1, 3, 12, 12)
    assert Adversary(num_classes=3, weight=1.0)(smallest, smallest).losses["loss_adapt_fooling"].isfinite()
