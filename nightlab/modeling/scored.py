"""What both levels together say of one frame, strip by strip: as whole maps of scores, or as labels alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from detectron2.structures import Instances
from torch import Tensor

from nightlab.modeling.strips import Decided, RowMap, decided, placed

# What stands behind the names of the model's outputs where they are the image level's own.
IMAGE_LEVEL = "_image_level"


class Strip(NamedTuple):
    """Log-probabilities `[K, h, W]` of some rows; `merged` is `image_level` itself where no region changes a row."""

    rows: range
    image_level: Tensor
    merged: Tensor


@dataclass(frozen=True)
class Scored:
    """P^I of a frame at the size wanted, and what its regions make of it.

    Attributes:
        merge: of rows of P^I `[K, h, W]` and which rows they are, the merged rows; None with the image level alone.
        regions: as the model returns them.
    """

    image_level: RowMap
    merge: Callable[[Tensor, range], Tensor] | None = None
    regions: Instances | None = None

    def strips(self) -> Iterator[Strip]:
        """From top to bottom."""
        for rows in self.image_level.strips():
            before = self.image_level.read(rows)
            yield Strip(rows, before, before if self.merge is None else self.merge(before, rows))

    def output(self, *, scores: bool, image_level: bool) -> dict[str, Any]:
        """The model's output, with maps of log-probabilities or of labels, and with regions also those of P^I alone."""
        height = self.image_level.size[0]
        maps: dict[str, Any] = {}
        for rows, before, merged in self.strips():
            found = {"": _found(merged, scores)}
            if image_level and self.merge is not None:
                found[IMAGE_LEVEL] = found[""] if merged is before else _found(before, scores)
            for suffix, parts in found.items():
                for name, part in parts.items():
                    maps[name + suffix] = placed(maps.get(name + suffix), part, rows, height)
        return maps if self.regions is None else {**maps, "regions": self.regions}


def decision(output: dict[str, Any], suffix: str = "") -> Decided | None:
    """What an output of the model decides, with scores or without; of P^I alone with `suffix` IMAGE_LEVEL. None where
    the model returned no such map."""
    if f"labels{suffix}" in output:
        return Decided(output[f"labels{suffix}"], output[f"confidence{suffix}"])
    return decided(output[f"sem_seg{suffix}"]) if f"sem_seg{suffix}" in output else None


def _found(log_probabilities: Tensor, scores: bool) -> dict[str, Tensor]:
    return {"sem_seg": log_probabilities} if scores else decided(log_probabilities)._asdict()
