"""One level: any frame size, normalisation and padding, losses that skip ignored pixels."""

import pytest
import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor
from torch.nn import functional as F

from nightlab.errors import InputError
from nightlab.modeling import Segmentor

from .contracts import assert_every_parameter_learns, pointwise_segmentor, shake, tiny_config

ODD_SIZES = [(45, 45), (97, 211), (64, 64), (33, 32), (1, 1), (5, 2)]


@pytest.fixture(scope="module")
def tiny() -> Segmentor:
    torch.manual_seed(0)
    return Segmentor(tiny_config("MODEL.SEM_SEG_HEAD.DROPOUT", 0.0))


def full_size(segmentor: Segmentor, images: Tensor) -> Tensor:
    return segmentor.at_image_size(segmentor(images).logits, (images.shape[-2], images.shape[-1]))


@pytest.mark.parametrize("size", ODD_SIZES)
def test_any_size(tiny: Segmentor, size: tuple[int, int]) -> None:
    images = 255 * torch.rand(2, 3, *size)
    with torch.no_grad():
        output = tiny.eval()(images)
    assert output.logits.shape == (2, 5, -(-size[0] // 4), -(-size[1] // 4))
    assert output.aux_logits is None
    logits = tiny.at_image_size(output.logits, size)
    assert logits.shape == (2, 5, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("size", [(45, 45), (97, 211)])
def test_training_at_any_size(tiny: Segmentor, size: tuple[int, int]) -> None:
    tiny.train()
    output = tiny(255 * torch.rand(1, 3, *size))
    losses = tiny.losses(output, torch.randint(0, 5, (1, *size)))
    assert set(losses) == {"loss_sem_seg", "loss_aux"}
    assert all(loss.ndim == 0 and loss > 0 for loss in losses.values())


def test_images_are_normalised() -> None:
    segmentor = pointwise_segmentor().eval()
    image = torch.tensor([150.0, 50.0, 190.0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    normalised = torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1, 1)  # means 100, 110, 120; deviations 50, 60, 70
    torch.testing.assert_close(segmentor(image).logits, segmentor.decode_head.classifier(normalised))


def test_padding_is_the_mean_colour_right_and_below(tiny: Segmentor) -> None:
    images = 255 * torch.rand(1, 3, 45, 50)
    padded = tiny.pixel_mean.expand(1, 3, 48, 52).clone()
    padded[..., :45, :50] = images
    with torch.no_grad():
        expected = full_size(tiny.eval(), padded)[..., :45, :50]
        torch.testing.assert_close(full_size(tiny, images), expected, rtol=1e-4, atol=1e-5)


def test_what_a_place_shows_does_not_move_or_stretch() -> None:
    """A frame's logits at full size are those of a larger frame that begins with it."""
    segmentor = pointwise_segmentor().eval()
    frame = 255 * torch.rand(1, 3, 48, 48)
    whole, part = full_size(segmentor, frame), full_size(segmentor, frame[..., :41, :37])
    torch.testing.assert_close(part[..., :36, :32], whole[..., :36, :32])


def test_loss_is_the_mean_over_labelled_pixels() -> None:
    segmentor = pointwise_segmentor()
    images = 255 * torch.rand(2, 3, 8, 12)
    target = torch.randint(0, 3, (2, 8, 12))
    target[0, :5] = 255
    output = segmentor(images)
    losses = segmentor.losses(output, target)
    logits = F.interpolate(output.logits, size=(8, 12), mode="bilinear", align_corners=False)
    log_p = logits.log_softmax(1).gather(1, target.clamp(max=2)[:, None])[:, 0]
    assert set(losses) == {"loss_sem_seg"}
    torch.testing.assert_close(losses["loss_sem_seg"], -log_p[target != 255].mean())


def test_padded_pixels_do_not_count() -> None:
    segmentor = pointwise_segmentor()
    images, target = 255 * torch.rand(1, 3, 45, 45), torch.randint(0, 3, (1, 45, 45))
    padded_target = F.pad(target, (0, 3, 0, 3), value=255)
    padded_images = segmentor.pixel_mean.expand(1, 3, 48, 48).clone()
    padded_images[..., :45, :45] = images
    loss = segmentor.losses(segmentor(images), target)["loss_sem_seg"]
    assert loss == segmentor.losses(segmentor(padded_images), padded_target)["loss_sem_seg"]
    logits = segmentor(padded_images).logits.detach().requires_grad_()
    far = F.pad(target[:, :40, :40], (0, 8, 0, 8), value=255)  # two cells of padding, one beyond interpolation
    segmentor.losses(segmentor(images)._replace(logits=logits), far)["loss_sem_seg"].backward()
    assert logits.grad is not None
    assert (logits.grad[..., 11:, :] == 0).all() and (logits.grad[..., :, 11:] == 0).all()
    assert (logits.grad[..., :10, :10] != 0).all()


def test_auxiliary_loss_is_weighted() -> None:
    target = torch.randint(0, 5, (2, 32, 32))
    losses = []
    for weight in (1.0, 0.25):
        torch.manual_seed(0)
        segmentor = Segmentor(tiny_config("MODEL.AUX_HEAD.LOSS_WEIGHT", weight, "MODEL.SEM_SEG_HEAD.DROPOUT", 0.0))
        images = torch.linspace(0, 255, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
        losses.append(segmentor.losses(segmentor.train()(images), target)["loss_aux"])
    torch.testing.assert_close(losses[1], 0.25 * losses[0])


def test_no_auxiliary_head_without_a_weight() -> None:
    segmentor = Segmentor(tiny_config("MODEL.AUX_HEAD.LOSS_WEIGHT", 0.0)).train()
    assert segmentor.aux_head is None
    losses = segmentor.losses(segmentor(255 * torch.rand(1, 3, 64, 64)), torch.zeros(1, 64, 64, dtype=torch.long))
    assert set(losses) == {"loss_sem_seg"}


@pytest.mark.parametrize("batch", [1, 2])
def test_a_batch_without_labels_gives_zero_and_zero_gradients(tiny: Segmentor, batch: int) -> None:
    tiny.train().zero_grad()
    losses = tiny.losses(tiny(255 * torch.rand(batch, 3, 40, 40)), torch.full((batch, 40, 40), 255))
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())
    for name, parameter in tiny.named_parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all(), name


def test_every_parameter_learns_from_one_image() -> None:
    segmentor = Segmentor(tiny_config()).train()
    shake(segmentor)
    losses = segmentor.losses(segmentor(255 * torch.rand(1, 3, 64, 64)), torch.randint(0, 5, (1, 64, 64)))
    sum(losses.values()).backward()
    assert_every_parameter_learns(segmentor)


def test_memory_format_does_not_matter() -> None:
    images = 255 * torch.rand(1, 3, 45, 45)
    logits = []
    for channels_last in (False, True):
        torch.manual_seed(0)
        segmentor = Segmentor(tiny_config("MODEL.CHANNELS_LAST", channels_last)).eval()
        weight = next(p for p in segmentor.parameters() if p.ndim == 4 and p.shape[-1] == 3 and p.shape[1] > 1)
        assert weight.is_contiguous(memory_format=segmentor.memory_format)
        with torch.no_grad():
            logits.append(segmentor(images).logits)
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-3, atol=1e-5)


def test_class_weights_reach_both_losses_and_must_fit() -> None:
    opts = ("MODEL.SEM_SEG_HEAD.DROPOUT", 0.0)
    plain = Segmentor(tiny_config(*opts))
    weighted = Segmentor(tiny_config(*opts, "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", [9, 1, 1, 1, 1]))
    shake(plain)
    weighted.load_state_dict(plain.state_dict())
    images, target = 255 * torch.rand(2, 3, 32, 32), torch.randint(0, 5, (2, 32, 32))
    losses = [s.losses(s(images), target) for s in (plain.train(), weighted.train())]
    assert all(losses[0][key] != losses[1][key] for key in ("loss_sem_seg", "loss_aux"))
    with pytest.raises(InputError, match=r"CLASS_WEIGHTS: 2 weights for 5 classes"):
        Segmentor(tiny_config("MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", [1, 2]))


def test_light_is_shown_early_and_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame, light map and adapted frame over a scale; what is drawn is the first image of the batch, by the first
    process alone: in the others, which have no writers, pictures would pile up."""
    level = Segmentor(tiny_config("MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.CHANNELS", 8))
    images = 255 * torch.rand(2, 3, 64, 64)
    pictures = []
    for iteration in (0, 99, 100, 600):
        with EventStorage(iteration) as storage:
            level.adaptation_losses(images, level.adapt(images), images.flip(-1))
        pictures += [(iteration, name, picture.shape) for name, picture, _ in storage._vis_data]
    assert [(iteration, name) for iteration, name, _ in pictures] == [(100, "light"), (600, "light")]
    _, height, width = pictures[0][2]
    assert width > 3 * 480 and height > 480  # enlarged by eight
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    with EventStorage(100) as storage:
        level.adaptation_losses(images, level.adapt(images), images.flip(-1))
    assert not storage._vis_data and "light/discriminator_accuracy" in storage.latest()
