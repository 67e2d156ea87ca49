"""Deformable convolutions: against plain ones, and their form for processors against torchvision's operator."""

import pytest
import torch
from torch import nn
from torchvision.ops import deform_conv2d

from nightlab.modeling.deformable import DeformableConv2d, deformable_convolution

from .contracts import conv_by_taps


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_a_deformable_convolution_starts_as_a_plain_one(modulated: bool, bias: bool) -> None:
    conv = DeformableConv2d(3, 4, bias=bias, modulated=modulated)
    x = torch.randn(2, 3, 7, 9)
    expected = conv_by_taps(x, conv.weight.detach())
    if conv.bias is not None:
        nn.init.normal_(conv.bias)
        expected = expected + conv.bias.view(1, -1, 1, 1)
    torch.testing.assert_close(conv(x), expected, rtol=1e-4, atol=1e-5)


def test_an_offset_of_one_column_shifts_the_sampling() -> None:
    conv = DeformableConv2d(2, 3, bias=False, modulated=False)
    with torch.no_grad():
        conv.offset.bias[1::2] = 1  # (dy, dx) of nine taps
    x = torch.randn(1, 2, 6, 8)
    plain = conv_by_taps(x, conv.weight.detach())
    torch.testing.assert_close(conv(x)[..., :-1], plain[..., 1:], rtol=1e-4, atol=1e-5)


def test_half_an_offset_samples_between_two_rows() -> None:
    conv = DeformableConv2d(1, 1, bias=False, modulated=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 0, 1, 1] = 1
        conv.offset.bias[0::2] = 0.5
    rows = torch.tensor([0.0, 4.0, 6.0]).view(1, 1, 3, 1)
    assert conv(rows).flatten().tolist() == [2, 5, 3]  # the last one lies half outside, where zeros are


def test_modulation_weighs_the_samples() -> None:
    conv = DeformableConv2d(2, 3, bias=False, modulated=True)
    x = torch.randn(1, 2, 5, 5)
    plain = conv(x)
    with torch.no_grad():
        conv.offset.bias[18:] = -torch.log(torch.tensor(3.0))  # sigmoid 1/4, and twice that
    torch.testing.assert_close(conv(x), plain / 2, rtol=1e-4, atol=1e-6)


def numbers(*, channels: int = 6, out: int = 150, reach: float = 2.0, dtype: torch.dtype = torch.float64):
    """What a deformable convolution of two frames of 5x7 pixels is given; offsets lead outside of them, too."""
    given = {
        "x": torch.randn(2, channels, 5, 7),
        "offset": reach * torch.randn(2, 18, 5, 7),
        "weight": torch.randn(out, channels, 3, 3),
        "bias": torch.randn(out),
        "mask": torch.rand(2, 9, 5, 7),
    }
    return {name: tensor.to(dtype).requires_grad_() for name, tensor in given.items()}


def torchvisions(x: torch.Tensor, **given: torch.Tensor | None) -> torch.Tensor:
    return deform_conv2d(x, **given, padding=1)


def outputs(function, given: dict[str, torch.Tensor | None], **options) -> list[torch.Tensor]:
    """Of a function: its output, and the gradients of all that it was given."""
    out = function(**given, **options)
    learned = [tensor for tensor in given.values() if tensor is not None]
    return [out.detach(), *torch.autograd.grad(out.square().sum(), learned)]


@pytest.mark.parametrize("columns", [1, 2**26], ids=["three groups", "one group"])
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("reach", [0.5, 20.0])
def test_it_is_what_torchvision_computes_gradients_included(columns: int, modulated: bool, reach: float) -> None:
    given = numbers(reach=reach) if modulated else {**numbers(reach=reach), "mask": None}
    ours = outputs(deformable_convolution, given, columns=columns)
    for mine, theirs in zip(ours, outputs(torchvisions, given), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_whole_offsets_land_on_pixels_and_borders() -> None:
    """Where an offset is a whole number, one neighbour has all the weight, at the last row and column as well."""
    given = numbers(channels=3, out=4)
    given["offset"] = given["offset"].detach().round().requires_grad_()
    torch.testing.assert_close(deformable_convolution(**given), torchvisions(**given))


def test_groups_do_not_keep_the_table_for_the_backward_pass() -> None:
    """In groups, nothing as large as a group's products (2 frames x 35 pixels x 9 taps x 64) is saved."""
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        deformable_convolution(**numbers(), columns=1)
    assert kept and max(kept) < 2 * 35 * 9 * 64


def test_half_precision_is_computed_in_single_precision() -> None:
    given = numbers(channels=3, out=4, dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = deformable_convolution(**given)
    expected = torchvisions(**{name: tensor.float() for name, tensor in given.items()})
    assert out.dtype == torch.bfloat16
    torch.testing.assert_close(out.float(), expected, rtol=0.02, atol=0.02)


def test_offsets_that_are_not_numbers_give_no_numbers_and_no_crash() -> None:
    given = numbers(channels=3, out=4)
    with torch.no_grad():
        given["offset"][0, 0, 0, 0] = torch.nan
        given["offset"][1, 1, 2, 2] = torch.inf
        given["offset"][1, 3, 2, 3] = 1e30
    out = deformable_convolution(**given)
    assert out[0, :, 0, 0].isnan().all() and out[:, :, 4, 6].isfinite().all()


def test_an_empty_batch_stays_empty() -> None:
    given = {name: tensor[:0] if name in ("x", "offset", "mask") else tensor for name, tensor in numbers(out=4).items()}
    assert deformable_convolution(**given).shape == (0, 4, 5, 7)
