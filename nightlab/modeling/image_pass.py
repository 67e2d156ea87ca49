"""What one pass of the image level leaves for all that comes after it."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nightlab.modeling.regions import Size
from nightlab.modeling.segmentor import SegmentorOutput
from nightlab.modeling.strips import RowMap


@dataclass
class ImagePass:
    """What the image level made of one frame `[3, H, W]`: its raw output, and logits `[K, *seen]`, read by rows."""

    frame: Tensor
    seen: Size
    output: SegmentorOutput
    logits: RowMap

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
        """P^I `[K, H, W]`; kept, and so read by `at` too once somebody has asked for it."""
        return self._at(self.size).whole()

    def at(self, size: Size) -> RowMap:
        """P^I at any size, to be read by rows. It holds no more of the pass than the logits."""
        if size == self.size and "log_probabilities" in self.__dict__:
            return RowMap.of(self.log_probabilities)
        return self._at(size)

    def _at(self, size: Size) -> RowMap:
        return self.logits.resized(size).mapped(posterior)


def posterior(logits: Tensor) -> Tensor:
    """Log-probabilities of logits `[K, ...]`."""
    return logits.log_softmax(dim=0)
