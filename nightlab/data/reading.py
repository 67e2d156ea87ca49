"""Reads image and label files into arrays, or says in one line what is wrong with the file."""

import io
import os
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image, ImageOps

from nightlab.errors import InputError, shortened
from nightlab.files import read_limited
from nightlab.picture_limits import MAX_BYTES, MAX_PIXELS, MAX_SCANS, has_too_many_scans, picture_size

# Decoders that run other programs or interpret code (EPS, for one) stay out.
_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000")
_LABEL_FORMATS = ("PNG", "BMP", "TIFF", "PPM", "GIF")
_JPEG_END = b"\xff\xd9"
SPLIT_REMEDY = "take it out of its split"
NO_SPLIT_REMEDY = "leave it out"  # for images of no data set


def read_image(
    path: str | os.PathLike[str], *, max_pixels: int | None = None, otherwise: str = SPLIT_REMEDY
) -> np.ndarray:
    """Reads a photograph as uint8 [H, W, 3], RGB, 0 to 255, upright.

    The EXIF orientation is applied, grey becomes three equal channels, 16-bit grey keeps its high byte (65535 -> 255),
    CMYK and palettes are converted, and an alpha channel is dropped. `otherwise` is the last remedy of messages.

    Raises:
        InputError: the file is missing, empty, truncated, no image or no file at all (a pipe), larger than
            `max_pixels` (MAX_PIXELS) or `MAX_BYTES`, or stored in a way that costs far more than it shows.
    """
    return decode_image(_read_bytes(path, otherwise), path, max_pixels=max_pixels, otherwise=otherwise)


def decode_image(
    data: bytes,
    name: str | os.PathLike[str],
    *,
    formats: tuple[str, ...] = _IMAGE_FORMATS,
    max_pixels: int | None = None,
    otherwise: str = SPLIT_REMEDY,
) -> np.ndarray:
    """`read_image` for a file's content; `name` stands for it in messages, and `otherwise` is their last remedy.

    Raises:
        InputError: as `read_image`, and for all that is not of `formats` or larger than `max_pixels` (MAX_PIXELS).
    """
    image = _open(data, name, formats, max_pixels, otherwise)
    if image.format == "JPEG" and image.mode in ("RGB", "L") and data.endswith(_JPEG_END):
        # OpenCV decodes twice as fast or more. Some versions fill a truncated file with grey and say nothing, hence the
        # test for the end marker; all apply the EXIF orientation.
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        if bgr is not None:
            return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    if image.mode == "F":
        raise InputError(f"{name}: its pixels are floating point; save them as 8 or 16 bit")
    return _decode(image, name, _to_rgb, otherwise)


def read_raw_label(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a label map as raw ids, uint8 or uint16 [H, W]: the stored numbers, in a palette file the indices.

    Raises:
        InputError: as `read_image`, and for colour or alpha channels, lossy files and numbers beyond 16 bits.
    """
    data = _read_bytes(path)
    image = _open(data, path, _LABEL_FORMATS)
    if image.mode not in ("L", "P", "1", "I", "I;16", "I;16B", "I;16L", "I;16N"):
        raise InputError(
            f"{path}: a label map holds one id per pixel, but this file has the channels {_channels(image)}; save it "
            "with one channel of 8 or 16 bit, or set 'label_encoding: color' in the card if its colours are the classes"
        )
    raw = _decode(image, path, np.asarray)
    if raw.dtype == bool:
        return raw.astype(np.uint8)
    if raw.dtype == np.uint8:
        stretch = _grey_stretch(data) if image.mode == "L" else 1
        return raw // stretch if stretch > 1 else raw
    if raw.size and (raw.min() < 0 or raw.max() > 65535):
        raise InputError(f"{path}: holds ids from {raw.min()} to {raw.max()}; save ids between 0 and 65535")
    return raw.astype(np.uint16)


def read_color_label(path: str | os.PathLike[str]) -> np.ndarray:
    """Reads a colour-coded label map as uint8 [H, W, 3], RGB; palette files give their colours.

    Raises:
        InputError: as `read_image`, and for single-channel or lossy files.
    """
    image = _open(_read_bytes(path), path, _LABEL_FORMATS)
    if image.mode not in ("RGB", "RGBA", "P"):
        raise InputError(
            f"{path}: the card says 'label_encoding: color', but this file has the channels {_channels(image)}; "
            "save it as RGB, or set 'label_encoding: index' in the card"
        )
    return _decode(image, path, lambda opened: np.asarray(opened.convert("RGB")))


def label_kind(path: str | os.PathLike[str]) -> Literal["color", "palette", "index"]:
    """What a label file holds for each pixel: a colour, an index of a palette, or an index alone.

    Raises:
        InputError: as `read_image`.
    """
    mode = _open(_read_bytes(path), path, _LABEL_FORMATS).mode
    return "color" if mode in ("RGB", "RGBA") else "palette" if mode == "P" else "index"


def check_pair(image: np.ndarray, label: np.ndarray, record: dict[str, Any]) -> None:
    """Checks that an image [H, W, 3] and its label map [H, W] have the same height and width.

    Raises:
        InputError: the sizes differ; names both files of the record.
    """
    if image.shape[:2] != label.shape[:2]:
        label_name = record.get("sem_seg_file_name", record["file_name"])
        raise InputError(
            f"{label_name}: the label map has {label.shape[1]}x{label.shape[0]} pixels (width x height) but its image "
            f"{record['file_name']} has {image.shape[1]}x{image.shape[0]}; resize the label map by nearest neighbour, "
            "or give the right file"
        )


def _read_bytes(path: str | os.PathLike[str], otherwise: str = SPLIT_REMEDY) -> bytes:
    try:
        data = read_limited(path, MAX_BYTES)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; restore it or {otherwise}") from None
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the file and its permissions"
        ) from None
    if not data:
        raise InputError(f"{path}: the file is empty; restore it or {otherwise}")
    return data


def _open(
    data: bytes,
    path: str | os.PathLike[str],
    formats: tuple[str, ...],
    max_pixels: int | None = None,
    otherwise: str = SPLIT_REMEDY,
) -> Image.Image:
    """Parses the header only."""
    max_pixels = max_pixels or MAX_PIXELS
    _check_pixels(picture_size(data), path, max_pixels)  # Pillow takes memory for a WebP when it opens it
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError:
        raise InputError(f"{path}: has more than {max_pixels} pixels; scale it down or tile it") from None
    except Exception as error:  # decoders raise whatever their parsers meet: OSError, SyntaxError, struct.error...
        raise InputError(
            f"{path}: is not a readable file of the formats {', '.join(formats)} ({error.__class__.__name__}); "
            f"replace it or {otherwise}" + ("; a label map must be lossless" if formats == _LABEL_FORMATS else "")
        ) from None
    _check_pixels(image.size, path, max_pixels)
    if image.format in ("JPEG", "MPO") and has_too_many_scans(data):
        raise InputError(f"{path}: is a JPEG of more than {MAX_SCANS} scans; save it anew or {otherwise}")
    return image


def _check_pixels(size: tuple[int, int] | None, path: str | os.PathLike[str], max_pixels: int) -> None:
    if size is not None and size[0] * size[1] > max_pixels:
        raise InputError(f"{path}: has {size[0]}x{size[1]} pixels, more than {max_pixels}; scale it down or tile it")


def _decode(
    image: Image.Image, path: str | os.PathLike[str], convert: Any, otherwise: str = SPLIT_REMEDY
) -> np.ndarray:
    try:
        image.load()
        return convert(image)
    except Exception as error:  # as in _open; a truncated file arrives here
        reason = shortened(str(error), 200) or type(error).__name__
        raise InputError(
            f"{path}: is truncated or damaged ({reason}); copy it again from its source or {otherwise}"
        ) from None


def _to_rgb(image: Image.Image) -> np.ndarray:
    ImageOps.exif_transpose(image, in_place=True)  # otherwise an upright one is copied
    if image.mode.startswith("I"):
        grey = (np.clip(np.asarray(image), 0, 65535) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _channels(image: Image.Image) -> str:
    return "+".join(image.getbands())


def _grey_stretch(data: bytes) -> int:
    """The factor by which Pillow stretches 2- and 4-bit grey PNG to 0...255; 1 for every other file."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[25] != 0:
        return 1
    return {2: 85, 4: 17}.get(data[24], 1)
