"""Swin's shifted windows as its authors run them, for timm's blocks."""

import torch
from timm.models.swin_transformer import SwinTransformerBlock, window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional as F


class PaddedFirstBlock(SwinTransformerBlock):
    """timm's block, but padding comes before the shift, as in the official Swin, mmsegmentation and transformers.

    timm shifts first. Where a map is no multiple of the window, other places then share a window, and weights trained
    with the one order give other features in the other.
    """

    def _attn(self, x: Tensor) -> Tensor:
        """`[B, H, W, C]` to `[B, H, W, C]`: attention within windows, without norm and residual."""
        height, width, channels = x.shape[1:]
        (window_h, window_w), (shift_h, shift_w) = self.window_size, self.shift_size
        x = F.pad(x, (0, 0, 0, -width % window_w, 0, -height % window_h))
        padded_h, padded_w = int(x.shape[1]), int(x.shape[2])
        shifted = any(self.shift_size)
        if shifted:
            x = torch.roll(x, shifts=(-shift_h, -shift_w), dims=(1, 2))
        mask = self.get_attn_mask(x) if self.dynamic_mask else self.attn_mask
        windows = self.attn(window_partition(x, self.window_size).flatten(1, 2), mask=mask)
        x = window_reverse(windows.view(-1, window_h, window_w, channels), self.window_size, padded_h, padded_w)
        if shifted:
            x = torch.roll(x, shifts=(shift_h, shift_w), dims=(1, 2))
        return x[:, :height, :width]


def pad_first(body: nn.Module) -> None:
    """Gives every Swin block in a timm model the official order, in place; other models stay as they are."""
    for module in body.modules():
        if type(module) is SwinTransformerBlock:
            module.__class__ = PaddedFirstBlock
