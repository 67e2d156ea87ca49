"""NightStreet as a source of labelled scenes: splits of seeds, drawn when they are read."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nightlab.data.cityscapes import CLASSES, COLORS, IGNORE_LABEL
from nightlab.errors import InputError

from .kept import kept_or_drawn
from .render import Scene, Time

_SEEDS: dict[str, tuple[int, int]] = {"train": (0, 2000), "val": (1_000_000, 100), "test": (2_000_000, 200)}
"""First seed and number of scenes of each split; the same seeds by night and by day make pairs."""


@dataclass(frozen=True)
class NightStreet:
    """Made road scenes in the 19 Cityscapes classes; nothing is read from files.

    Splits: ``night_train`` (2000 scenes), ``night_val`` (100), ``night_test`` (200), and ``day_...`` of the same ones.

    Attributes:
        name: under which it is registered.
        size: height and width of the pictures in pixels.
    """

    name: str = "nightstreet"
    size: tuple[int, int] = (256, 512)

    @property
    def classes(self) -> tuple[str, ...]:
        return CLASSES

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]:
        return COLORS

    @property
    def ignore_label(self) -> int:
        return IGNORE_LABEL

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(f"{time}_{part}" for time in ("night", "day") for part in _SEEDS)

    def records(self, split: str) -> list[dict[str, Any]]:
        """One dataset dict for each scene; ``scene`` holds what to draw.

        Raises:
            InputError: no such split.
        """
        if split not in self.splits:
            raise InputError(f"{self.name}: there is no split '{split}'; choose from {', '.join(self.splits)}")
        time, part = split.split("_")
        first, count = _SEEDS[part]
        height, width = self.size
        return [
            {
                "file_name": f"{self.name}/{split}/{i:06d}",
                "image_id": f"{split}_{i:06d}",
                "height": height,
                "width": width,
                "scene": {"seed": first + i, "time": time},
                "source": self,
            }
            for i in range(count)
        ]

    def read_image(self, record: dict[str, Any]) -> np.ndarray:
        """uint8 ``[H, W, 3]``, RGB; a fresh array."""
        return self._scene(record).image.copy()

    def read_label(self, record: dict[str, Any]) -> np.ndarray:
        """uint8 ``[H, W]``: train ids 0 to 18, 255 on our own bonnet; a fresh array."""
        return self._scene(record).label.copy()

    def _scene(self, record: dict[str, Any]) -> Scene:
        scene = record["scene"]
        return _drawn(scene["seed"], self.size, scene["time"])


@lru_cache(maxsize=2)
def _drawn(seed: int, size: tuple[int, int], time: Time) -> Scene:
    """Image and label of a record are asked for one after the other: draw once."""
    return kept_or_drawn(seed, size, time)
