"""Convolution blocks that the heads are made of: plain or deformable, with a norm that survives one pixel."""

from collections.abc import Callable

from detectron2.layers import get_norm
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.deformable import DeformableConv2d


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that normalises by its running statistics where a batch holds one value per channel.

    torch raises there; it happens to pyramid pooling of scale 1 when a process has one image.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(input)


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
