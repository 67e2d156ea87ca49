"""Photos of visitors: bytes that are checked, decoded and brought to what the model takes. Nothing of them is kept."""

import math
from typing import NamedTuple

import cv2
import numpy as np

from nightlab.data.reading import decode_image
from nightlab.errors import InputError

# What cameras and browsers write. The fewer decoders strangers reach, the better.
FORMATS = ("JPEG", "PNG", "WEBP")
NAME = "this file"
# Larger photos are reduced to it: the memory for class scores grows with it, and road scenes are no larger (2048x1024).
SEEN_PIXELS = 2_100_000
SMALLEST_SIDE = 32
LONGEST_ASPECT = 6.0


class Limits(NamedTuple):
    """What is taken from a visitor; more is refused before it is decoded."""

    megabytes: int = 20
    megapixels: int = 40

    @property
    def bytes(self) -> int:
        return self.megabytes * 1_000_000


class Fitted(NamedTuple):
    """A frame, uint8 `[H, W, 3]`, RGB, and what was done to the photo for it; "" where nothing was."""

    image: np.ndarray
    note: str


def decode(data: bytes, limits: Limits) -> np.ndarray:
    """A photo as uint8 `[H, W, 3]`, RGB, upright. Raises InputError for what is no photo or beyond the limits."""
    if not data:
        raise InputError(f"{NAME} is empty; choose another one")
    if len(data) > limits.bytes:
        raise InputError(f"{NAME} is larger than {limits.megabytes} MB; save it smaller")
    max_pixels = limits.megapixels * 1_000_000
    try:
        image = decode_image(data, NAME, formats=FORMATS, max_pixels=max_pixels, otherwise="choose another one")
    except InputError as error:
        raise InputError(str(error).replace(f"{NAME}: ", f"{NAME} ", 1)) from None  # a sentence, not a file's name
    height, width = image.shape[:2]
    if min(height, width) < SMALLEST_SIDE or max(height, width) > LONGEST_ASPECT * min(height, width):
        raise InputError(
            f"{NAME} has {width}x{height} pixels; choose a photo of at least {SMALLEST_SIDE} pixels a side, at most "
            f"{LONGEST_ASPECT:.0f} times as long as it is wide"
        )
    return image


def fit(image: np.ndarray, size: tuple[int, int] | None, longest_side: int | None = None) -> Fitted:
    """The photo cut to the aspect of `size` (height, width), where a model takes no other, and no larger than needed.

    A photo is never enlarged here; it is reduced to `SEEN_PIXELS`, and to `longest_side`.
    """
    notes = []
    height, width = image.shape[:2]
    if size:
        kept = min(height, round(width * size[0] / size[1])), min(width, round(height * size[1] / size[0]))
        # A pixel or two more than the aspect asks for: not worth cutting.
        if height - kept[0] > 0.01 * height or width - kept[1] > 0.01 * width:
            top, left = (height - kept[0]) // 2, (width - kept[1]) // 2
            image = image[top : top + kept[0], left : left + kept[1]]
            notes.append("cut to its middle, since this model takes one aspect only")
    height, width = image.shape[:2]
    factor = min(math.sqrt(SEEN_PIXELS / (height * width)), (longest_side or math.inf) / max(height, width))
    if factor < 1:
        width, height = max(round(width * factor), 1), max(round(height * factor), 1)
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        notes.append(f"reduced to {width}x{height}")
    return Fitted(np.ascontiguousarray(image), "; ".join(notes))
