"""What one pass of the image level leaves for all that comes after it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nightlab.modeling.layers import resize_to
from nightlab.modeling.regions import Size
from nightlab.modeling.segmentor import SegmentorOutput


@dataclass
class ImagePass:
    """What the image level made of one frame `[3, H, W]`: its raw output, and logits `[1, K, *seen]`."""

    frame: Tensor
    seen: Size
    output: SegmentorOutput
    logits: Tensor

    @property
    def size(self) -> Size:
        """Height and width of the frame."""
        return self.frame.shape[-2], self.frame.shape[-1]

    @property
    def seen_per_frame(self) -> Tensor:
        """Pixels of the seen image per pixel of the frame, as (x, y, x, y)."""
        ratio = [self.seen[1] / self.size[1], self.seen[0] / self.size[0]]
        return torch.tensor(ratio * 2, device=self.frame.device)

    @cached_property
    def log_probabilities(self) -> Tensor:
        """P^I `[K, H, W]`."""
        return self.at(self.size)

    def at(self, size: Size) -> Tensor:
        """P^I at another size."""
        return resize_to(self.logits, size)[0].log_softmax(dim=0)
