"""Folded BatchNorm: the block's own output, at inference only, after any load."""

import copy

import pytest
import torch
from torch import nn

from nightlab.modeling.folding import apply, fold
from nightlab.modeling.layers import conv_norm_relu

from .contracts import shake


@pytest.mark.parametrize("kernel_size", [1, 3])
def test_the_output_is_the_blocks(kernel_size):
    block = conv_norm_relu(6, 5, kernel_size).eval()
    shake(block)
    x = torch.randn(2, 6, 7, 9)
    with torch.no_grad():
        assert fold(block) is not None
        torch.testing.assert_close(apply(block, x), block(x), rtol=1e-5, atol=1e-6)


def test_a_convolution_with_bias_folds_too():
    block = nn.Sequential(nn.Conv2d(4, 3, 3, padding=1), nn.BatchNorm2d(3, affine=False), nn.ReLU()).eval()
    block[1].running_mean.normal_()
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        torch.testing.assert_close(apply(block, x), block(x), rtol=1e-5, atol=1e-6)


def test_what_is_not_folded():
    block = conv_norm_relu(6, 5)
    assert fold(block.eval()) is None, "gradients are wanted"
    with torch.no_grad():
        assert fold(block.train()) is None
        assert fold(conv_norm_relu(6, 32, norm="GN").eval()) is None
        assert fold(conv_norm_relu(6, 5, norm="").eval()) is None
        assert fold(conv_norm_relu(6, 5, 3, deformable=True).eval()) is None
        for other in (conv_norm_relu(6, 32, norm="GN").eval(), conv_norm_relu(6, 5, norm="").eval()):
            x = torch.randn(1, 6, 4, 4)
            assert torch.equal(apply(other, x), other(x))


def test_nothing_remains_of_an_earlier_state():
    block, other = conv_norm_relu(6, 5, 3).eval(), conv_norm_relu(6, 5, 3).eval()
    shake(other)
    x = torch.randn(1, 6, 8, 8)
    with torch.no_grad():
        apply(block, x)
        block.load_state_dict(other.state_dict())
        torch.testing.assert_close(apply(block, x), other(x), rtol=1e-5, atol=1e-6)
    before = copy.deepcopy(block.state_dict())
    block.train()
    apply(block, x)
    assert not torch.equal(block[1].running_mean, before["1.running_mean"]), "training still learns statistics"
