"""Deformable 3x3 convolution: torchvision's operator on a GPU; on a processor a form of the same sum that is faster.

Source: Zhu et al., Deformable ConvNets v2 (CVPR 2019).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torchvision.ops import deform_conv2d

from nightlab.modeling.cpu_kernels import linear

# Numbers that a deformable convolution holds at a time between its two steps: 256 MiB in single precision.
COLUMNS = 2**26


class DeformableConv2d(nn.Module):
    """A 3x3 deformable convolution, v1 (offsets) or v2 (offsets and modulation).

    Offsets start at zero and modulation at one, so that it starts as a plain convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool, modulated: bool):
        super().__init__()
        self.modulated = modulated
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.offset = nn.Conv2d(in_channels, 27 if modulated else 18, 3, padding=1)
        nn.init.zeros_(self.offset.weight)
        nn.init.constant_(self.offset.bias, 0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        field = self.offset(x)
        mask = 2 * field[:, 18:].sigmoid() if self.modulated else None
        return deformable_convolution(x, field[:, :18], self.weight.to(x.dtype), self.bias, mask)


def deformable_convolution(
    x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, *, columns: int = COLUMNS
) -> Tensor:
    """`torchvision.ops.deform_conv2d` with padding 1, in less memory: `[B, C, H, W]`, `[O, C, 3, 3]` to `[B, O, H, W]`.

    The operator gathers nine values of every channel for every pixel before it multiplies, forward and backward. Its
    sum over channels can be taken in parts: groups of channels go one after the other, so that at most about `columns`
    numbers are gathered at a time, and by 64 channels or more. On a processor it multiplies first, see
    `multiply_and_sample`.
    """
    per_channel = 9 * int(x.shape[0]) * int(x.shape[2]) * int(x.shape[3])
    group = max(columns // max(per_channel, 1), 64)
    if x.device.type == "cpu":
        out = multiply_and_sample(x, offset, weight, mask, group=group)
    elif group >= x.shape[1]:
        out = deform_conv2d(x, offset, weight, padding=1, mask=mask)
    else:
        parts = zip(x.split(group, dim=1), weight.split(group, dim=1), strict=True)
        out = sum(deform_conv2d(part, offset, taps, padding=1, mask=mask) for part, taps in parts)
    assert isinstance(out, Tensor)
    return out if bias is None else out + bias[:, None, None]


def multiply_and_sample(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, *, group: int) -> Tensor:
    """The same sum, the other way round: `[B, C, H, W]`, `[O, C, 3, 3]` to `[B, O, H, W]`.

    Sampling is linear, so a tap's 1x1 convolution may come before it. Then all that is left is, for every pixel, a
    weighted sum of 36 rows (nine taps, four neighbours each) of a table of products `[B * H * W * 9, O]`, which is
    torch's `embedding_bag`: vectorised over channels, forward and backward, where the operator's kernel for
    processors goes from number to number. `group` output channels at a time; where that is not all of them, the
    backward pass multiplies once more instead of keeping the table.
    """
    rows, weights = _neighbours(offset, mask)
    batch, channels, height, width = x.shape
    with torch.autocast(x.device.type, enabled=False):  # as the operator, which runs in float32 under autocast
        dtype = torch.promote_types(x.dtype, torch.float32)
        pixels = x.to(dtype).permute(0, 2, 3, 1).reshape(-1, channels)
        weight, weights = weight.to(dtype), weights.to(dtype)

        def sampled(taps: Tensor) -> Tensor:
            table = linear(pixels, taps.permute(2, 3, 0, 1).reshape(-1, channels))
            return F.embedding_bag(rows, table.view(-1, len(taps)), per_sample_weights=weights, mode="sum")

        if group >= len(weight):
            out = sampled(weight)
        else:
            parts = [checkpoint(sampled, taps, use_reentrant=False) for taps in weight.split(group)]
            out = torch.cat(parts, dim=1)
    return out.to(x.dtype).view(batch, height, width, len(weight)).permute(0, 3, 1, 2)


def _neighbours(offset: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which rows of the table of products a pixel is the sum of, and with which weights: both `[B * H * W, 36]`.

    `offset` is `[B, 18, H, W]` (dy, dx of nine taps), `mask` `[B, 9, H, W]`; there is nothing outside of the image.
    """
    batch, _, height, width = offset.shape
    place = torch.promote_types(offset.dtype, torch.float32)
    taps = torch.arange(9, device=offset.device)
    start = torch.stack((taps // 3 - 1, taps % 3 - 1), dim=1)[..., None, None]
    grid = torch.stack(torch.meshgrid(*(torch.arange(n, device=offset.device) for n in (height, width)), indexing="ij"))
    at = offset.to(place).view(batch, 9, 2, height, width) + (start + grid)
    corner = at.detach().floor()
    part, corner = at - corner, corner.long()
    shares = (1 - part, part)
    frame = torch.arange(batch, device=offset.device).view(-1, 1, 1, 1) * (height * width)
    rows, weights = [], []
    for down in (0, 1):
        for right in (0, 1):
            y, x = corner[:, :, 0] + down, corner[:, :, 1] + right
            share = shares[down][:, :, 0] * shares[right][:, :, 1]
            share = share * ((y >= 0) & (y < height) & (x >= 0) & (x < width))
            weights.append(share if mask is None else share * mask)
            rows.append((frame + y.clamp(0, height - 1) * width + x.clamp(0, width - 1)) * 9 + taps.view(9, 1, 1))
    return _by_pixel(rows), _by_pixel(weights)


def _by_pixel(neighbours: list[Tensor]) -> Tensor:
    """Four of `[B, 9, H, W]` as `[B * H * W, 36]`."""
    return torch.stack(neighbours, dim=-1).permute(0, 2, 3, 1, 4).reshape(-1, 36)
