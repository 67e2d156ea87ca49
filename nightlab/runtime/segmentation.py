"""What a model says of one image, and how that looks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from nightlab.errors import InputError
from nightlab.files import written_aside

BACKGROUND, TEXT, BOX = (20, 20, 24), (232, 232, 236), (150, 190, 255)
FONT, LINE = cv2.FONT_HERSHEY_SIMPLEX, 26


class Region(NamedTuple):
    """A region that the second level looked at: (x0, y0, x1, y1) in pixels, and its score, 0 to 1."""

    box: tuple[float, ...]
    score: float


@dataclass
class Segmentation:
    """
    Attributes:
        image: uint8 `[H, W, 3]`, RGB.
        labels: class ids, uint8 `[H, W]`: places in `classes`.
        scores: probability of each pixel's class, float32 `[H, W]`.
        regions: best first; none where the model has the image level only.
        image_level: class ids before the regions were merged in; `labels` where there are none.
    """

    image: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    regions: list[Region]
    classes: Sequence[str]
    colors: Sequence[Sequence[int]]
    image_level: np.ndarray = field(repr=False)

    def draw(self, opacity: float = 0.6) -> np.ndarray:
        """Classes over the image, regions as boxes, and a legend of the classes that occur; uint8 `[h, W, 3]`, RGB."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.colors)] = self.colors
        picture = cv2.addWeighted(table[self.labels], opacity, self.image, 1 - opacity, 0)
        for region in self.regions:
            x0, y0, x1, y1 = (round(value) for value in region.box)
            cv2.rectangle(picture, (x0, y0), (x1, y1), BOX, 1, cv2.LINE_AA)
            cv2.putText(picture, f"{region.score:.2f}", (x0 + 3, max(y0, 0) + 13), FONT, 0.4, TEXT, 1, cv2.LINE_AA)
        return np.vstack([picture, self._legend(picture.shape[1])])

    def save(self, path: str | Path, opacity: float = 0.6) -> None:
        """Write `draw()` as an image file. Raises InputError where it cannot be written."""
        path = Path(path)
        try:
            data = cv2.imencode(path.suffix, cv2.cvtColor(self.draw(opacity), cv2.COLOR_RGB2BGR))[1]
            with written_aside(path) as aside:  # cv2.imwrite would say nothing of a full disk
                aside.write_bytes(data.tobytes())
        except (cv2.error, OSError) as error:
            reason = getattr(error, "strerror", None) or "OpenCV knows no such format"
            raise InputError(
                f"{path}: cannot be written ({reason}); name a .png or .jpg file in a folder that has room"
            ) from None

    def _legend(self, width: int) -> np.ndarray:
        occurring = [k for k in np.unique(self.labels) if k < len(self.classes)]
        places, x, y = [], 8, 0
        for k in occurring:
            needed = 36 + cv2.getTextSize(self.classes[k], FONT, 0.5, 1)[0][0]
            if x > 8 and x + needed > width:
                x, y = 8, y + LINE
            places.append((x, y))
            x += needed
        strip = np.empty((y + LINE + 4, width, 3), np.uint8)
        strip[:] = BACKGROUND
        for k, (x, y) in zip(occurring, places, strict=True):
            cv2.rectangle(strip, (x, y + 6), (x + 14, y + 20), tuple(map(int, self.colors[k])), cv2.FILLED)
            cv2.putText(strip, self.classes[k], (x + 20, y + 18), FONT, 0.5, TEXT, 1, cv2.LINE_AA)
        return strip
