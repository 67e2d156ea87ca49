"""The convolution of enlarged maps against the textbook: values, gradients, any sizes, mixed precision, tracing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nightlab.modeling.resized_conv import _columns, _is_cheaper, _rows, conv_of_resized, textbook

SIZES = [
    [(16, 24), (8, 12), (4, 6), (2, 3)],  # ratios of two
    [(17, 23), (9, 12), (5, 6), (3, 3)],  # what rounding up leaves
    [(12, 12), (5, 7), (1, 1), (3, 12)],  # any ratio
    [(6, 6), (6, 6), (9, 9), (1, 2)],  # not enlarged at all
    [(1, 1), (1, 1), (1, 1), (1, 1)],
]


def case(sizes, channels=16, out=8, bias=False, memory_format=torch.contiguous_format):
    conv = nn.Conv2d(channels * len(sizes), out, 3, padding=1, bias=bias).to(memory_format=memory_format)
    levels = [torch.randn(2, channels, *size).contiguous(memory_format=memory_format) for size in sizes]
    return conv, [level.requires_grad_() for level in levels]


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradients_are_the_textbooks(sizes, bias, memory_format):
    conv, levels = case(sizes, bias=bias, memory_format=memory_format)
    outcomes = []
    for function in (textbook, conv_of_resized):
        y = function(conv, levels)
        gradients = torch.autograd.grad((y * torch.linspace(0, 1, y.numel()).view_as(y)).sum(), [*levels, conv.weight])
        outcomes.append([y, *gradients])
    for expected, ours in zip(*outcomes, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)


def test_without_gradients_the_values_are_the_same():
    for sizes in SIZES:
        conv, levels = case(sizes, bias=True)
        with torch.no_grad():
            torch.testing.assert_close(conv_of_resized(conv, levels), textbook(conv, levels), rtol=1e-4, atol=1e-5)


def test_the_levels_are_left_alone():
    conv, levels = case(SIZES[0])
    before = [level.detach().clone() for level in levels]
    with torch.no_grad():
        conv_of_resized(conv, levels)
    assert all(torch.equal(level, copy) for level, copy in zip(levels, before, strict=True))


def test_the_short_way_is_taken_where_it_is_shorter():
    levels = case(SIZES[0], channels=64, out=64)[1]
    assert [_is_cheaper(level, (16, 24)) for level in levels] == [False, True, True, True]
    assert not _is_cheaper(torch.randn(1, 4, 32, 512), (64, 1024)), "four channels are not worth the matrices"
    assert _is_cheaper(torch.randn(1, 64, 128, 256), (256, 512)), "a narrow head on a large frame is"


@pytest.mark.parametrize(("length", "size"), [(7, 200), (64, 128), (100, 201), (1, 70), (300, 65)])
def test_bands_make_up_the_matrices(length, size):
    rows, columns = torch.zeros(3, size, length), torch.zeros(size, length, 3)
    for tap, bands in enumerate(_rows(length, size)):
        for band in bands:
            rows[tap, band.rows, band.columns] = band.part
    for band in _columns(length, size):
        columns.view(size, -1)[band.rows, band.columns] = band.part
    x = torch.randn(1, 1, length)
    padded = F.pad(F.interpolate(x, size=size, mode="linear", align_corners=False)[0, 0], (1, 1))
    for tap in range(3):
        # torch rounds the places to single precision, the matrices are made in double.
        for matrix in (rows[tap], columns[:, :, tap]):
            torch.testing.assert_close(matrix @ x[0, 0], padded[tap : tap + size], rtol=1e-4, atol=1e-4)


def test_mixed_precision():
    conv, levels = case(SIZES[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = conv_of_resized(conv, levels)
    torch.testing.assert_close(ours.float(), textbook(conv, levels), rtol=0.05, atol=0.05)


def test_inference_mode_leaves_training_intact():
    conv, levels = case([(13, 15), (7, 8)])
    with torch.inference_mode():
        conv_of_resized(conv, levels)
    conv_of_resized(conv, levels).sum().backward()
    assert levels[1].grad is not None


@pytest.mark.filterwarnings("ignore")
def test_a_traced_graph_gives_the_same():
    conv, levels = case(SIZES[1])
    conv.requires_grad_(False)
    traced = torch.jit.trace(lambda *maps: conv_of_resized(conv, maps), tuple(x.detach() for x in levels))
    torch.testing.assert_close(traced(*levels), textbook(conv, levels), rtol=1e-4, atol=1e-4)
