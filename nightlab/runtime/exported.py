"""What exported models have in common, whatever runs their graph."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nightlab.errors import InputError
from nightlab.runtime.frames import as_frame
from nightlab.runtime.segmentation import Region, Segmentation

# Aspects that differ less count as equal: sizes are whole numbers.
ASPECT_TOLERANCE = 0.02
# Of a region's box from the frame's corner, in pixels: what OpenCV still draws.
FARTHEST = 1 << 20


class ExportedModel(ABC):
    """A file of tools/export.py: image files or arrays in, `Segmentation` out.

    Attributes:
        size: (height, width) of the frames that the graph takes. Others of this aspect are scaled to it and back.
        classes, colors: names and RGB colours in the order of the class ids.
        file: its path.
        metadata: all that the file tells about itself.
        engine: what runs it, and where.
    """

    def __init__(self, file: str | Path, metadata: dict[str, Any], engine: str):
        self.file = Path(file)
        self.metadata = metadata
        self.engine = engine
        self.size: tuple[int, int] = tuple(metadata["size"])
        self.classes: list[str] = metadata["classes"]
        self.colors: list[list[int]] = metadata["colors"]

    def __call__(self, image: str | Path | np.ndarray) -> Segmentation:
        """Raises InputError for an image that cannot be read or is of another aspect than the graph's, and for a graph
        that fails, or gives regions without a place."""
        frame = as_frame(image)
        out = self.run(self._scaled(frame))
        size = frame.shape[1], frame.shape[0]
        before = out.get("image_level_labels", out["labels"])
        if frame.shape[:2] != self.size:
            out["labels"], before = (_nearest(labels, size) for labels in (out["labels"], before))
            out["confidence"] = cv2.resize(out["confidence"], size, interpolation=cv2.INTER_LINEAR)
        ratio = np.array([size[0] / self.size[1], size[1] / self.size[0]] * 2)
        regions = []
        if "boxes" in out:
            boxes, scores = out["boxes"][out["real"]] * ratio, out["scores"][out["real"]]
            if not (np.abs(boxes) < FARTHEST).all():  # nor are those that are no numbers
                raise InputError(f"{self.file}: gives regions whose boxes are no places; export the model again")
            regions = [Region(tuple(box), score) for box, score in zip(boxes.tolist(), scores.tolist(), strict=True)]
        return Segmentation(frame, out["labels"], out["confidence"], regions, self.classes, self.colors, before)

    @abstractmethod
    def run(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs by their names, for a frame uint8 `[*size, 3]`, RGB."""

    def _scaled(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        if (height, width) == self.size:
            return frame
        aspect = (width / height) / (self.size[1] / self.size[0])
        if abs(aspect - 1) > ASPECT_TOLERANCE:
            raise InputError(
                f"an image of {width}x{height} (width x height) for a model of {self.size[1]}x{self.size[0]}; crop it "
                f"to that aspect, or export with --size {height} {width}"
            )
        smooth = cv2.INTER_AREA if height > self.size[0] else cv2.INTER_LINEAR
        return cv2.resize(frame, (self.size[1], self.size[0]), interpolation=smooth)


def _nearest(labels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
