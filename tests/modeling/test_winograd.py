"""Winograd's convolution against torch's, and when it is taken."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nightlab.modeling import winograd
from nightlab.modeling.winograd import convolve, pays


@pytest.mark.parametrize("size", [(8, 8), (13, 15), (1, 1), (4, 21), (50, 3)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_are_those_of_the_convolution(size, memory_format):
    x = torch.randn(2, 24, *size).contiguous(memory_format=memory_format)
    weight, bias = torch.randn(5, 24, 3, 3), torch.randn(5)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1).float()
    with torch.no_grad():
        found = winograd.winograd(x, weight, bias)
        plain = winograd.winograd(x, weight, None)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    torch.testing.assert_close(plain + bias.view(-1, 1, 1), found, rtol=1e-4, atol=1e-4)


def test_an_impulse_returns_the_kernel():
    x = torch.zeros(1, 1, 9, 9)
    x[0, 0, 4, 5] = 1
    weight = torch.arange(9.0).view(1, 1, 3, 3)
    with torch.no_grad():
        found = winograd.winograd(x, weight, None)
    torch.testing.assert_close(found[0, 0, 3:6, 4:7], weight[0, 0].flip(0, 1), rtol=1e-5, atol=1e-5)
    assert found.abs().sum() == pytest.approx(36, rel=1e-4)


def test_it_is_taken_where_it_pays():
    x, weight = torch.zeros(1, 128, 32, 64), torch.zeros(128, 128, 3, 3)
    assert not pays(x, weight), "gradients are wanted"
    with torch.no_grad():
        assert pays(x, weight)
        assert not pays(x[..., :63], weight)
        assert not pays(x, weight[:64])
        assert not pays(x, weight[..., :1, :1])
        assert not pays(x.double(), weight.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not pays(x, weight)


def test_both_ways_agree():
    conv = nn.Conv2d(130, 128, 3, padding=1)
    x = torch.randn(1, 130, 45, 47)
    expected = conv(x)
    with torch.no_grad():
        assert pays(x, conv.weight)
        found = convolve(x, conv.weight, conv.bias)
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
