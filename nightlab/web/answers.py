"""What the page is told, as plain values for JSON."""

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from nightlab.web.stepped import Seen, SteppedModel
from nightlab.web.uploads import FORMATS, Limits

JPEG_QUALITY = 90


def about(name: str, model: SteppedModel, limits: Limits, examples: Sequence[str]) -> dict[str, Any]:
    """What the page shows and checks before there is a photo."""
    return {
        "name": name,
        "classes": list(model.classes),
        "colors": [list(color) for color in model.colors],
        "sliders": model.sliders._asdict() if model.sliders else None,
        "limits": {**limits._asdict(), "types": [f"image/{name.lower()}" for name in FORMATS]},
        "examples": list(examples),
    }


def picture(frame: np.ndarray, image_level: np.ndarray, note: str) -> dict[str, Any]:
    """What stays the same however the sliders stand."""
    height, width = image_level.shape
    return {
        "width": width,
        "height": height,
        "photo": "data:image/jpeg;base64," + base64.b64encode(as_jpeg(frame)).decode("ascii"),
        "image_level": runs(image_level),
        "note": note,
    }


def merged(seen: Seen, classes: Sequence[str]) -> dict[str, Any]:
    """Class ids after merging, and the regions: boxes in pixels, rounded to a tenth."""
    kinds = [None] * len(seen.boxes) if seen.kinds is None else [classes[k] for k in seen.kinds.tolist()]
    return {
        "merged": runs(seen.labels),
        "regions": [
            {"box": [round(value, 1) for value in box], "score": round(score, 3), "class": kind}
            for box, score, kind in zip(seen.boxes.tolist(), seen.scores.tolist(), kinds, strict=True)
        ],
    }


def runs(labels: np.ndarray) -> list[int]:
    """A map as class and length of each run of equal pixels, row after row: [class, length, class, length, ...]."""
    flat = labels.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    return np.stack([flat[starts].astype(np.int64), lengths], axis=1).reshape(-1).tolist()


def as_jpeg(image: np.ndarray) -> bytes:
    """uint8 `[H, W, 3]`, RGB."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
