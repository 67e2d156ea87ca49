"""Images as the models take them: uint8 `[H, W, 3]`, RGB, from a file or an array."""

from pathlib import Path

import cv2
import numpy as np

from nightlab.errors import InputError
from nightlab.files import read_limited
from nightlab.picture_limits import MAX_BYTES, MAX_PIXELS, has_too_many_scans, is_cut, picture_size


def as_frame(image: str | Path | np.ndarray) -> np.ndarray:
    """A JPEG, PNG or WebP file decoded upright, or the array itself.

    Raises:
        InputError: it is neither, truncated, or larger than `MAX_PIXELS`, which is known before it is decoded.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise InputError(f"an array of {image.dtype} {image.shape}; give uint8 [H, W, 3], RGB")
        return np.ascontiguousarray(image)
    try:
        data = read_limited(image, MAX_BYTES)
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror}); give an image file") from None
    size = picture_size(data)
    if size is None:
        raise InputError(f"{image}: no image that is read here; save it as JPEG, PNG or WebP")
    if size[0] * size[1] > MAX_PIXELS or has_too_many_scans(data):
        raise InputError(f"{image}: {size[0]}x{size[1]} pixels, or the way they are stored, are too much; save it anew")
    try:
        bgr = None if is_cut(data) else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # for what its decoders do not take back themselves
        bgr = None
    if bgr is None:
        raise InputError(f"{image}: OpenCV reads no image from it; is it whole? Save it as JPEG or PNG")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
