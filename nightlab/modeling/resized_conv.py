"""A 3x3 convolution over enlarged maps, without making the enlarged maps. Exact but for rounding.

A convolution and a bilinear enlargement are both linear, so each tap's 1x1 convolution can run on the small map, and
only its result is enlarged, shifted by the tap and added up. Enlarging and shifting along an axis is one small matrix
product. The textbook form, `textbook`, is what the tests compare with.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.layers import resize_to


def textbook(conv: nn.Module, levels: Sequence[Tensor]) -> Tensor:
    """`conv` over the concatenation of `levels`, `[B, C_i, h_i, w_i]`, all enlarged to the first one's size."""
    size = (levels[0].shape[-2], levels[0].shape[-1])
    return conv(torch.cat([resize_to(level, size) for level in levels], dim=1))


def conv_of_resized(conv: nn.Conv2d, levels: Sequence[Tensor]) -> Tensor:
    """As `textbook`, `[B, O, H, W]`, in less time. `conv`: 3x3, stride 1, padding 1, one group."""
    # Plain numbers, or tracing would follow them into the matrices.
    height, width = int(levels[0].shape[-2]), int(levels[0].shape[-1])
    weights = conv.weight.split([int(level.shape[1]) for level in levels], dim=1)
    direct = [i for i, level in enumerate(levels) if not _is_cheaper(level, conv.out_channels, (height, width))]
    # What is not cheaper apart stays one convolution, as in the textbook.
    inputs = [resize_to(levels[i], (height, width)) for i in direct]
    x = inputs[0] if len(inputs) == 1 else torch.cat(inputs, dim=1)
    weight = weights[direct[0]] if len(direct) == 1 else torch.cat([weights[i] for i in direct], dim=1)
    out = F.conv2d(x, weight, conv.bias, padding=1)
    for i, level in enumerate(levels):
        if i not in direct:
            out = out + _small(level, weights[i], (height, width))
    return out


def _is_cheaper(level: Tensor, out_channels: int, size: tuple[int, int]) -> bool:
    """Whether the taps on the small map and the matrix products take fewer multiply-adds than the convolution."""
    (height, width), (h, w) = size, level.shape[-2:]
    if (h, w) == (height, width):
        return False
    taps = 9 * level.shape[1] * h * w
    products = 9 * h * w * width + 3 * h * height * width
    return taps + products < 9 * level.shape[1] * height * width


def _small(x: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """The 3x3 convolution by `weight` `[O, C, 3, 3]` of `x` `[B, C, h, w]` enlarged to `size`, zeros around it."""
    batch, _, h, w = map(int, x.shape)
    out_channels = weight.shape[0]
    rows, columns = _shifted(h, size[0], x.device), _shifted(w, size[1], x.device)
    # [W, 3 w]: for one row, from (column, tap) to enlarged column.
    columns = columns.permute(1, 2, 0).reshape(size[1], 3 * w)
    out = None
    for dy in range(3):
        # Channels last and taps before outputs, so that (column, tap) is one axis without moving anything.
        taps = F.conv2d(x, weight[:, :, dy].permute(2, 0, 1).reshape(3 * out_channels, -1, 1, 1))
        taps = taps.permute(0, 2, 3, 1).reshape(batch * h, 3 * w, out_channels)
        wide = torch.matmul(columns.to(taps.dtype), taps).view(batch, h, size[1] * out_channels)
        tall = torch.matmul(rows[dy].to(wide.dtype), wide)
        out = tall if out is None else out + tall
    assert out is not None
    return out.view(batch, size[0], size[1], out_channels).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def _shifted(length: int, size: int, device: torch.device) -> Tensor:
    """Matrices `[3, size, length]`: bilinear enlargement of an axis, read one place before, at, and one place after.

    Beyond the ends they give zero, as the padding of a convolution does.
    """
    with torch.inference_mode(False), torch.no_grad():  # or a cached one could not serve training later
        plain = F.interpolate(torch.eye(length)[None], size=size, mode="linear", align_corners=False)[0].T
        padded = F.pad(plain, (0, 0, 1, 1))
        return torch.stack([padded[d : d + size] for d in range(3)]).to(device)
