"""Images as the models take them: uint8 `[H, W, 3]`, RGB, from a file or an array."""

from pathlib import Path

import cv2
import numpy as np

from nightlab.errors import InputError


def as_frame(image: str | Path | np.ndarray) -> np.ndarray:
    """An image file decoded upright, or the array itself. Raises InputError for what is neither."""
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(f"an array of {image.dtype} {image.shape}; give uint8 [H, W, 3], RGB")
        return np.ascontiguousarray(image)
    try:
        data = np.frombuffer(Path(image).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror}); give an image file") from None
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if bgr is None:
        raise InputError(f"{image}: OpenCV reads no image from it; save it as JPEG or PNG")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
