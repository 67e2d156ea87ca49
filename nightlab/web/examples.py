"""Pictures to begin with: those of a folder, or made night streets."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from nightlab.data.nightstreet import render
from nightlab.data.reading import NO_SPLIT_REMEDY, read_image
from nightlab.demo.sources import distinct_stems, find_images
from nightlab.web.answers import as_jpeg

MOST = 12
MADE_SEEDS = (5, 3, 11, 1)
MADE_SIZE = (360, 720)
THUMBNAIL_HEIGHT = 120


class Examples:
    """Asked for by their number, never by a path: `names`, `thumbnails` (JPEG), and `image(number)`."""

    def __init__(self, sources: list[tuple[str, Callable[[], np.ndarray]]]):
        """`sources`: a name and what gives the image, uint8 `[H, W, 3]`, RGB. Raises what a source raises."""
        self.names = [name for name, _ in sources]
        self._read = [read for _, read in sources]
        self.thumbnails = [as_jpeg(_small(read())) for read in self._read]

    def image(self, number: int) -> np.ndarray:
        return self._read[number]()


def of_folder(folder: Path) -> Examples:
    """The first `MOST` images of a folder. Raises InputError where it has none, or one of them cannot be read."""
    files = find_images([str(folder)])[:MOST]
    names = distinct_stems(files)
    read = partial(read_image, otherwise=NO_SPLIT_REMEDY)
    return Examples([(name, partial(read, file)) for name, file in zip(names, files, strict=True)])


def made(size: tuple[int, int] | None = None) -> Examples:
    """Night streets of NightStreet, of a size (height, width) if the model takes no other."""

    def scene(seed: int) -> np.ndarray:
        return render(seed, size or MADE_SIZE).image

    return Examples([(f"made street {i}", partial(scene, seed)) for i, seed in enumerate(MADE_SEEDS, 1)])


def _small(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(round(width * THUMBNAIL_HEIGHT / height), 1), THUMBNAIL_HEIGHT
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
