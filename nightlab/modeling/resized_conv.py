"""A 3x3 convolution over enlarged maps, without making the enlarged maps. Exact but for rounding.

A convolution and a bilinear enlargement are both linear, so each tap's 1x1 convolution can run on the small map, and
only its result is enlarged, shifted by the tap and added up. Enlarging and shifting along an axis is one product with
a matrix that is zero but for a band around its diagonal, so it goes in blocks. The textbook form, `textbook`, is what
the tests compare with.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nightlab.modeling.cpu_kernels import convolve, linear
from nightlab.modeling.folding import Kernel
from nightlab.modeling.layers import resize_to

# Rows of a band matrix that go together: more are fewer products, of more zeros.
BLOCK = 64


class Band(NamedTuple):
    """Rows `rows` of a matrix `[size, length]`, and its part that is not zero there, which begins at `first`."""

    rows: slice
    first: int
    part: Tensor

    @property
    def columns(self) -> slice:
        return slice(self.first, self.first + self.part.shape[1])


def textbook(conv: nn.Module, levels: Sequence[Tensor]) -> Tensor:
    """`conv` over the concatenation of `levels`, `[B, C_i, h_i, w_i]`, all enlarged to the first one's size."""
    size = (levels[0].shape[-2], levels[0].shape[-1])
    return conv(torch.cat([resize_to(level, size) for level in levels], dim=1))


def conv_of_resized(conv: nn.Conv2d | Kernel, levels: Sequence[Tensor]) -> Tensor:
    """As `textbook`, `[B, O, H, W]`, in less time. `conv`: 3x3, stride 1, padding 1, one group."""
    # Plain numbers, or tracing would follow them into the matrices.
    height, width = int(levels[0].shape[-2]), int(levels[0].shape[-1])
    weights = conv.weight.split([int(level.shape[1]) for level in levels], dim=1)
    direct = [i for i, level in enumerate(levels) if not _is_cheaper(level, (height, width))]
    # What is not cheaper apart stays one convolution, as in the textbook.
    inputs = [resize_to(levels[i], (height, width)) for i in direct]
    x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
    weight = weights[direct[0]] if len(direct) == 1 else torch.cat([weights[i] for i in direct], dim=1)
    out = convolve(x, weight, conv.bias)
    if len(direct) == len(levels):
        return out
    batch, out_channels = out.shape[0], int(out.shape[1])
    out = out.permute(0, 2, 3, 1).reshape(batch, height, width * out_channels)
    for i, level in enumerate(levels):
        if i not in direct:
            out = _add_small(out, level, weights[i], (height, width))
    return out.view(batch, height, width, out_channels).permute(0, 3, 1, 2)


def _is_cheaper(level: Tensor, size: tuple[int, int]) -> bool:
    """Whether the taps on the small map and the band products take fewer multiply-adds than the convolution."""
    (height, width), (h, w) = size, map(int, level.shape[-2:])
    if (h, w) == (height, width):
        return False
    rows, columns = (sum(band.part.numel() for band in bands) for bands in (_rows(h, height)[1], _columns(w, width)))
    taps = 9 * level.shape[1] * h * w
    products = 3 * h * columns + 3 * rows * width
    return taps + products < 9 * level.shape[1] * height * width


def _add_small(out: Tensor, x: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """`out` `[B, H, W O]` and the 3x3 convolution by `weight` `[O, C, 3, 3]` of `x` `[B, C, h, w]` enlarged to `size`.

    Without gradients `out` itself changes.
    """
    batch, h, w = x.shape[0], int(x.shape[2]), int(x.shape[3])
    out_channels = int(weight.shape[0])
    pixels = x.permute(0, 2, 3, 1).reshape(batch * h * w, -1)
    for dy in range(3):
        # Taps before outputs, so that (column, tap) is one axis without moving anything.
        matrix = weight[:, :, dy].permute(2, 0, 1).reshape(3 * out_channels, -1)
        taps = linear(pixels, matrix).view(batch * h, 3 * w, out_channels)
        wide = _product(_columns(w, size[1], x.device), taps, None, size[1])
        out = _product(_rows(h, size[0], x.device)[dy], wide.view(batch, h, -1), out, size[0])
    return out


def _product(bands: Sequence[Band], x: Tensor, out: Tensor | None, size: int) -> Tensor:
    """The matrix of `bands` times `x` `[N, length, M]`, `[N, size, M]`, added to `out` where that is given."""
    captured = torch.jit.is_tracing() or torch.compiler.is_compiling()
    in_place = not torch.is_grad_enabled() and not captured and (out is None or out.dtype == x.dtype)
    parts = []
    target = x.new_empty(len(x), size, x.shape[-1]) if out is None and in_place else out
    for band in bands:
        matrix = band.part.to(x.dtype).expand(x.shape[0], -1, -1)
        if in_place:
            assert target is not None
            target[:, band.rows].baddbmm_(matrix, x[:, band.columns], beta=0 if out is None else 1)
        else:
            parts.append(torch.bmm(matrix, x[:, band.columns]))
    if in_place:
        assert target is not None
        return target
    whole = torch.cat(parts, dim=1)
    return whole if out is None else out + whole


def _columns(length: int, size: int, device: torch.device | None = None) -> tuple[Band, ...]:
    """For an axis of (place, tap): `[size, 3 length]`, the enlargements of the three taps, each shifted by its tap."""
    return _axis(length, size, device)[0]


def _rows(length: int, size: int, device: torch.device | None = None) -> tuple[tuple[Band, ...], ...]:
    """For each of three taps the enlargement of an axis, `[size, length]`, shifted by the tap."""
    return _axis(length, size, device)[1]


@torch.compiler.assume_constant_result
def _axis(length: int, size: int, device: torch.device | None) -> tuple[tuple[Band, ...], tuple[tuple[Band, ...], ...]]:
    """What `_columns` and `_rows` give; made once, also where torch.compile captures a graph around it."""
    return _kept_axis(length, size, device)


def _make_axis(
    length: int, size: int, device: torch.device | None
) -> tuple[tuple[Band, ...], tuple[tuple[Band, ...], ...]]:
    shifted = _shifted(length, size)
    with torch.inference_mode(False):  # or those kept could not serve training later
        columns = _bands(shifted.transpose(1, 2, 0).reshape(size, 3 * length), device)
        return columns, tuple(_bands(matrix, device) for matrix in shifted)


_kept_axis = lru_cache(maxsize=128)(_make_axis)


def _bands(matrix: np.ndarray, device: torch.device | None) -> tuple[Band, ...]:
    """What is not zero of a matrix, in blocks of rows."""
    bands = []
    for start in range(0, len(matrix), BLOCK):
        rows = matrix[start : start + BLOCK]
        used = rows.any(axis=0).nonzero()[0]
        first, last = (int(used[0]), int(used[-1])) if len(used) else (0, 0)
        part = torch.tensor(rows[:, first : last + 1], dtype=torch.float32, device=device)
        bands.append(Band(slice(start, start + len(rows)), first, part))
    return tuple(bands)


def _shifted(length: int, size: int) -> np.ndarray:
    """Matrices `[3, size, length]`: bilinear enlargement of an axis, read one place before, at, and one place after.

    Beyond the ends they give zero, as the padding of a convolution does.
    """
    place = np.maximum((np.arange(size) + 0.5) * length / size - 0.5, 0)
    low = np.minimum(np.floor(place).astype(int), length - 1)
    share = place - low
    padded = np.zeros((size + 2, length))
    np.add.at(padded, (np.arange(size) + 1, low), 1 - share)
    np.add.at(padded, (np.arange(size) + 1, np.minimum(low + 1, length - 1)), share)
    return np.stack([padded[d : d + size] for d in range(3)])
