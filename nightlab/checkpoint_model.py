"""A checkpoint with the interface of the runtime's ONNX model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from nightlab.config import load_config
from nightlab.predictor import Predictor
from nightlab.runtime.frames import as_frame
from nightlab.runtime.segmentation import Region, Segmentation


class CheckpointModel:
    """A checkpoint and its configuration: image files or arrays in, `Segmentation` out; any size of image."""

    def __init__(self, path: Path, config: Path, opts: Sequence[str] = ()):
        """Uses the GPU where there is one. Raises InputError where checkpoint and configuration do not fit."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        opts = ["MODEL.DEVICE", device, *opts, "MODEL.WEIGHTS", str(path)]
        self.predictor = Predictor(load_config(config, opts))
        self.classes, self.colors = self.predictor.classes, self.predictor.colors

    def __call__(self, image: str | Path | np.ndarray) -> Segmentation:
        frame = as_frame(image)
        seen = self.predictor(frame)
        regions = [
            Region(tuple(box), score) for box, score in zip(seen.boxes.tolist(), seen.scores.tolist(), strict=True)
        ]
        return Segmentation(frame, seen.labels, seen.confidence, regions, self.classes, self.colors, seen.image_level)
