"""Convolution blocks: the norm that survives one pixel, resizing."""

import pytest
import torch
from torch import nn

from nightlab.modeling.layers import BatchNorm2d, conv_norm_relu, resize_to


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
