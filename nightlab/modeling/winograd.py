"""3x3 convolutions by Winograd's minimal filtering on CPUs: a quarter of the multiplications, exact but for rounding.

Tiles of 4x4 outputs are made of 6x6 inputs: both kernel and tiles are transformed, multiplied place by place (a matrix
product over channels for each of the 36 places) and transformed back. On GPUs cuDNN chooses by itself.
Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (CVPR 2016), F(4x4, 3x3).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# The kernel's transform, `[6, 3]`; those of input and output are written out below, as sums of few terms.
KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
# Below these, transforming costs more than it saves.
LEAST_CHANNELS = 128
LEAST_PIXELS = 2048
# Rows of tiles that go together, so that what is between the steps stays small.
STRIP = 2


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.conv2d` of stride 1 with zeros around that keep the size, `[B, C, H, W]` to `[B, O, H, W]`, the faster way."""
    if pays(x, weight):
        return winograd(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd's way is possible and likely faster: float32 on a CPU, no gradients, and much to compute."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled():
        return False
    if torch.is_autocast_enabled("cpu") or torch.jit.is_tracing() or torch.compiler.is_compiling():
        return False
    channels = min(weight.shape[:2])
    return tuple(weight.shape[-2:]) == (3, 3) and channels >= LEAST_CHANNELS and x[0, 0].numel() >= LEAST_PIXELS


def winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A 3x3 convolution of stride 1 with zeros around, in channels-last memory."""
    batch, channels, height, width = x.shape
    tall, wide = -(-height // 4), -(-width // 4)
    transform = weight.new_tensor(KERNEL)
    kernel = torch.einsum("ia,jb,ocab->ijco", transform, transform, weight).flatten(0, 1).contiguous()
    out = x.new_empty(batch, 4 * tall, 4 * wide, len(weight))
    padded = x.new_zeros(4 * STRIP + 2, 4 * wide + 2, channels)
    for image, target in zip(x.permute(0, 2, 3, 1), out, strict=True):
        for top in range(0, tall, STRIP):
            rows = min(STRIP, tall - top)
            tiles = _both(_strip(image, top, rows, padded), rows, wide)
            products = torch.bmm(tiles.view(36, rows * wide, channels), kernel)
            _write(products.view(6, 6, rows, wide, -1), target[4 * top : 4 * (top + rows)], bias)
    return out[:, :height, :width].permute(0, 3, 1, 2)


def _strip(image: Tensor, top: int, rows: int, padded: Tensor) -> Tensor:
    """What `rows` rows of tiles from `top` on read of `[H, W, C]`, zeros around it, in the memory of `padded`."""
    height, width = image.shape[:2]
    strip = padded[: 4 * rows + 2]
    first = 4 * top - 1
    start, stop = max(first, 0), min(first + len(strip), height)
    strip[: start - first] = 0
    strip[stop - first :] = 0
    strip[start - first : stop - first, 1 : width + 1] = image[start:stop]
    return strip


def _both(strip: Tensor, rows: int, columns: int) -> Tensor:
    """Tiles of a strip `[4 rows + 2, 4 columns + 2, C]`, transformed along both axes: `[6, 6, rows, columns, C]`."""
    high = strip.new_empty(6, rows, *strip.shape[1:])
    _input([strip[k : k + 4 * rows - 3 : 4] for k in range(6)], high)
    tiles = strip.new_empty(6, 6, rows, columns, strip.shape[-1])
    _input([high[:, :, k : k + 4 * columns - 3 : 4] for k in range(6)], tiles.transpose(0, 1))
    return tiles


def _input(d: list[Tensor], out: Tensor) -> None:
    """Six places along an axis to the six of the transform, into `out[0]` to `out[5]`."""
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=out[1])
    torch.sub(even, odd, out=out[2])
    even, odd = d[4] - d[2], d[3] - d[1]
    torch.add(even, odd, alpha=2, out=out[3])
    torch.sub(even, odd, alpha=2, out=out[4])
    for place, first in ((0, 0), (5, 1)):
        torch.add(d[first + 4], d[first], alpha=4, out=out[place])
        out[place].sub_(d[first + 2], alpha=5)


def _output(m: list[Tensor], out: list[Tensor]) -> None:
    """Six products along an axis to four outputs, into `out[0]` to `out[3]`."""
    near, far = m[1] + m[2], m[3] + m[4]
    torch.add(m[0], near, out=out[0]).add_(far)
    torch.add(near, far, alpha=4, out=out[2])
    near, far = m[1] - m[2], m[3] - m[4]
    torch.add(near, far, alpha=2, out=out[1])
    torch.add(near, far, alpha=8, out=out[3]).add_(m[5])


def _write(products: Tensor, target: Tensor, bias: Tensor | None) -> None:
    """Products `[6, 6, rows, columns, O]` transformed back along both axes, into `target` `[4 rows, 4 columns, O]`."""
    rows, columns, channels = products.shape[2:]
    high = products.new_empty(4, *products.shape[1:])
    _output(list(products), list(high))
    places = target.view(rows, 4, columns, 4, channels).permute(3, 1, 0, 2, 4)
    _output(list(high.unbind(1)), list(places))
    if bias is not None:
        target.add_(bias)
