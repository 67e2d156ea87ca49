"""Convolution blocks that the heads are made of: plain or deformable, with a norm that survives one pixel."""

from collections.abc import Callable

import torch
from detectron2.layers import get_norm
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import deform_conv2d

# Numbers that a deformable convolution gathers at a time: 256 MiB in single precision.
COLUMNS = 2**26


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that normalises by its running statistics where a batch holds one value per channel.

    torch raises there; it happens to pyramid pooling of scale 1 when a process has one image.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


class DeformableConv2d(nn.Module):
    """A 3x3 deformable convolution, v1 (offsets) or v2 (offsets and modulation), through torchvision's operator.

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

    It gathers nine values of every channel for every pixel before it multiplies, forward and backward. Its sum over
    channels can be taken in parts: groups of channels go one after the other, so that at most about `columns` numbers
    are gathered at a time, and by 64 channels or more.
    """
    per_channel = 9 * int(x.shape[0]) * int(x.shape[2]) * int(x.shape[3])
    group = max(columns // max(per_channel, 1), 64)
    if group >= x.shape[1]:
        return deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)
    parts = zip(x.split(group, dim=1), weight.split(group, dim=1), strict=True)
    out = sum(deform_conv2d(part, offset, taps, padding=1, mask=mask) for part, taps in parts)
    assert isinstance(out, Tensor)
    return out if bias is None else out + bias[:, None, None]


def conv_norm_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    *,
    norm: str | Callable[[int], nn.Module] = "BN",
    deformable: bool = False,
    modulated: bool = True,
) -> nn.Sequential:
    """`[B, in, H, W] -> [B, out, H, W]`: convolution (stride 1, same size), norm ("BN", "GN", "" or another that
    detectron2's `get_norm` takes), ReLU. `deformable` takes a 3x3 kernel only."""
    conv: nn.Module
    if deformable:
        conv = DeformableConv2d(in_channels, out_channels, bias=not norm, modulated=modulated)
    else:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=not norm)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    layers: list[nn.Module] = [conv]
    if norm:
        layers.append(BatchNorm2d(out_channels) if norm == "BN" else get_norm(norm, out_channels))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def groups_of_eight(channels: int) -> nn.GroupNorm:
    """GroupNorm that needs no batch, nor more than one pixel."""
    return nn.GroupNorm(max(channels // 8, 1), channels)


def classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """The last 1x1 convolution of a head, starting near equal scores."""
    conv = nn.Conv2d(in_channels, num_classes, 1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def resize_to(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize of `[B, C, H, W]` to (height, width); the tensor itself where it has that size."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
