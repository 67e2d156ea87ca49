"""Maps of the size of the frame, a strip of rows at a time: K x H x W numbers need never be held.

A whole map is put together from the same strips, so that what is decided strip by strip is what the whole map says, to
the last bit.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nightlab.modeling.layers import resize_to
from nightlab.modeling.regions import Size

# Numbers in a strip: 8 MiB in single precision, which on a CPU stays near.
NUMBERS = 2**21
# A GPU has less to launch with larger ones: in twenty strips of 1024x2048, pasting ten regions took it 26 ms.
GPU_NUMBERS = 2**25


@dataclass(frozen=True)
class RowMap:
    """A map `[C, *size]` of which `read` makes the rows that are asked for, `[C, len(rows), width]`."""

    channels: int
    size: Size
    read: Callable[[range], Tensor]
    device: torch.device

    @classmethod
    def of(cls, x: Tensor) -> "RowMap":
        """A tensor `[C, H, W]`."""
        channels, height, width = map(int, x.shape)

        def read(rows: range) -> Tensor:
            return x if len(rows) == height else x[:, rows.start : rows.stop]

        return cls(channels, (height, width), read, x.device)

    def resized(self, size: Size) -> "RowMap":
        """Brought to another size, as by `resize_to`."""
        if size == self.size:
            return self
        return replace(self, size=size, read=lambda rows: _resized_rows(self, size, rows))

    def cut(self, size: Size) -> "RowMap":
        """Its part on the left above."""
        height, width = size

        def read(rows: range) -> Tensor:
            if len(rows) == height:
                return self.read(range(self.size[0]))[:, :height, :width]
            return self.read(rows)[..., :width]

        return self if size == self.size else replace(self, size=size, read=read)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "RowMap":
        """What a function makes of it that looks at one row at a time."""
        return replace(self, read=lambda rows: function(self.read(rows)))

    def strips(self) -> list[range]:
        """Its rows, in order, in strips that suit the device; one strip where a graph is captured."""
        height, width = self.size
        if torch.jit.is_tracing() or torch.compiler.is_compiling():
            return [range(height)]
        numbers = GPU_NUMBERS if self.device.type == "cuda" else NUMBERS
        step = max(numbers // (self.channels * width), 1)
        return [range(top, min(top + step, height)) for top in range(0, height, step)]

    def whole(self) -> Tensor:
        """`[C, H, W]`."""
        out = None
        for rows in self.strips():
            out = placed(out, self.read(rows), rows, self.size[0])
        assert out is not None
        return out


class Decided(NamedTuple):
    """The likeliest class of each pixel, uint8 `[h, w]`, and its probability, float32 `[h, w]`."""

    labels: Tensor
    confidence: Tensor


def decided(log_probabilities: Tensor) -> Decided:
    """What log-probabilities `[K, h, w]` come down to; of equal ones the first class."""
    score, labels = log_probabilities.max(dim=0)
    return Decided(labels.byte(), score.exp())


def placed(out: Tensor | None, strip: Tensor, rows: range, height: int) -> Tensor:
    """`out` `[..., height, W]`, which begins as None, with `strip` `[..., len(rows), W]` in its rows."""
    if len(rows) == height:
        return strip
    if out is None:
        out = strip.new_empty(*strip.shape[:-2], height, strip.shape[-1])
    out[..., rows.start : rows.stop, :] = strip
    return out


def _resized_rows(source: RowMap, size: Size, rows: range) -> Tensor:
    """Rows of a bilinear resize: first along the columns, for these rows alone, then along the rows."""
    length = source.size[0]
    if len(rows) == size[0]:
        return resize_to(source.read(range(length))[None], size)[0]
    first, last = (int(_position(row, length, size[0])) for row in (rows.start, rows.stop - 1))
    part = source.read(range(first, min(last + 2, length)))
    position = _position(torch.arange(rows.start, rows.stop, dtype=torch.float64, device=part.device), length, size[0])
    upper = position.long().clamp(max=length - 1)
    share = (position - upper)[:, None].to(part.dtype)
    tall = torch.lerp(part[:, upper - first], part[:, (upper + 1).clamp(max=length - 1) - first], share)
    return resize_to(tall[None], (len(rows), size[1]))[0]


def _position(row: Any, length: int, size: int) -> Any:
    """Where a row of a map resized to `size` rows is read in one of `length` rows, by the row above and a share."""
    position = (row + 0.5) * length / size - 0.5
    return position.clamp(min=0) if isinstance(position, Tensor) else max(position, 0.0)
