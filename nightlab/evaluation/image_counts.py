"""The counts of each image, in few bytes: a night's drive is a hundred thousand images."""

from collections.abc import Sequence

import numpy as np


class ImageCounts:
    """Rows of 3 x K counts, 12 K bytes each (an image has fewer than 2^31 pixels), and the ids of their images.

    The array doubles when it is full, so that up to half of it is empty.
    """

    def __init__(self, num_classes: int):
        self.ids: list[str] = []
        self._rows = np.empty((64, 3, num_classes), np.int32)

    def add(self, image_id: str, counts: np.ndarray) -> None:
        """One image's counts `[3, K]`."""
        if len(self.ids) == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[len(self.ids)] = counts
        self.ids.append(image_id)

    @property
    def rows(self) -> np.ndarray:
        """int32 `[N, 3, K]`."""
        return self._rows[: len(self.ids)]


def in_order(parts: Sequence[tuple[Sequence[str], np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Ids `[N]`, sorted, and counts `[N, 3, K]` of the images of all parts; of one that is there twice, the last."""
    place = {image_id: row for row, image_id in enumerate(image_id for ids, _ in parts for image_id in ids)}
    ids = sorted(place)
    return np.array(ids), np.concatenate([rows for _, rows in parts])[[place[image_id] for image_id in ids]]
