"""Convolution blocks: deformable ones against plain ones, the norm that survives one pixel, resizing."""

import pytest
import torch
from torch import nn

from nightlab.modeling.layers import (
    BatchNorm2d,
    DeformableConv2d,
    conv_norm_relu,
    deformable_convolution,
    resize_to,
)

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


@pytest.mark.parametrize("modulated", [False, True])
def test_channels_in_groups_give_the_same_and_the_same_gradients(modulated: bool) -> None:
    """150 channels of 5x7 pixels in three groups, against one call of torchvision's operator."""
    tensors = {
        "x": torch.randn(2, 150, 5, 7),
        "offset": torch.randn(2, 18, 5, 7),
        "weight": torch.randn(4, 150, 3, 3),
        "bias": torch.randn(4),
        "mask": torch.rand(2, 9, 5, 7),
    }
    results = []
    for columns in (1, 2**26):
        given = {name: tensor.double().requires_grad_() for name, tensor in tensors.items()}
        given["mask"] = given["mask"] if modulated else None
        out = deformable_convolution(**given, columns=columns)
        out.square().sum().backward()
        results.append([out.detach(), *(t.grad for t in given.values() if t is not None)])
    for parts, whole in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole)


def test_batch_norm_of_one_value_uses_the_running_statistics() -> None:
    norm = BatchNorm2d(3)
    nn.init.normal_(norm.running_mean)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    x = torch.randn(1, 3, 1, 1, requires_grad=True)
    trained = norm.train()(x)
    assert torch.equal(trained, norm.eval()(x))
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())
    trained.sum().backward()
    assert x.grad is not None and x.grad.abs().min() > 0


def test_batch_norm_of_more_values_is_torchs() -> None:
    ours, theirs = BatchNorm2d(3).train(), nn.BatchNorm2d(3).train()
    x = torch.randn(2, 3, 1, 1)
    assert torch.equal(ours(x), theirs(x))
    assert torch.equal(ours.running_var, theirs.running_var)


@pytest.mark.parametrize("norm", ["BN", "", "LN"])
@pytest.mark.parametrize("deformable", [False, True])
def test_blocks_keep_the_size_and_have_one_bias(norm: str, deformable: bool) -> None:
    block = conv_norm_relu(3, 4, 3, norm=norm, deformable=deformable)
    out = block(torch.randn(2, 3, 5, 7))
    assert out.shape == (2, 4, 5, 7)
    assert out.min() >= 0
    assert (block[0].bias is None) == bool(norm)  # a norm has a bias of its own


def test_resizing() -> None:
    x = torch.tensor([[[[0.0, 8.0]]]])
    assert resize_to(x, (1, 2)) is x
    assert resize_to(x, (1, 4)).flatten().tolist() == [0, 2, 6, 8]  # pixel centres at -1/4, 1/4, 3/4, 5/4
    assert resize_to(x, (3, 1)).flatten().tolist() == [4, 4, 4]
