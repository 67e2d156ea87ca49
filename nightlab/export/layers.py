"""Layers that runtimes lack, from operators that they have."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.deformable import DeformableConv2d


class SampledDeformableConv2d(nn.Module):
    """`DeformableConv2d` without its operator: for each of the nine taps a bilinear sampling and a 1x1 convolution."""

    def __init__(self, conv: DeformableConv2d):
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        height, width = x.shape[-2:]
        field = conv.offset(x)
        mask = 2 * field[:, 18:].sigmoid() if conv.modulated else None
        rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None]
        columns = torch.arange(width, device=x.device, dtype=x.dtype)[None, :]
        out = None
        for tap in range(9):
            y = rows + (tap // 3 - 1) + field[:, 2 * tap]
            x_position = columns + (tap % 3 - 1) + field[:, 2 * tap + 1]
            # From -1 to 1 over the outer edges of the pixels.
            grid = torch.stack([(2 * x_position + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
            sampled = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
            if mask is not None:
                sampled = sampled * mask[:, tap, None]
            part = F.conv2d(sampled, conv.weight[:, :, tap // 3, tap % 3, None, None])
            out = part if out is None else out + part
        assert out is not None
        return out if conv.bias is None else out + conv.bias[:, None, None]


def replace_deformable(module: nn.Module) -> int:
    """Put `SampledDeformableConv2d` in the place of every deformable convolution, in place; returns how many."""
    replaced = 0
    for name, child in module.named_children():
        if isinstance(child, DeformableConv2d):
            setattr(module, name, SampledDeformableConv2d(child))
            replaced += 1
        else:
            replaced += 0 if isinstance(child, SampledDeformableConv2d) else replace_deformable(child)
    return replaced
