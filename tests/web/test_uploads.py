"""Uploads: what is no photo is refused in one line before it costs anything; what is one fits the model."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nightlab.errors import InputError
from nightlab.web.uploads import FORMATS, SEEN_PIXELS, Limits, decode, fit

LIMITS = Limits(megabytes=1, megapixels=1)
NOISE = np.random.default_rng(0).integers(0, 255, (80, 80, 3), dtype=np.uint8)
GREY = np.full((40, 60, 3), 90, np.uint8)


def encoded(image=GREY, kind="PNG", **options):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **options)
    return stream.getvalue()


def chunk(name, content):
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def bomb(side):
    """A PNG of a few bytes that says it has side x side pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 9)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_photos_come_in(kind):
    image = decode(encoded(kind=kind), LIMITS)
    assert image.shape == GREY.shape and image.dtype == np.uint8 and np.abs(image.astype(int) - 90).max() <= 2


def test_a_photo_of_a_turned_camera_stands_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(kind="JPEG", exif=exif), LIMITS).shape == (60, 40, 3)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "this file is empty"),
        (b"MZ" + bytes(100), "this file is not a readable file of the formats JPEG, PNG, WEBP"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a readable file"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a readable file"),
        (encoded(kind="TIFF"), "not a readable file"),
        (encoded(kind="GIF"), "not a readable file"),
        (encoded()[:-30], "is truncated or damaged"),
        (encoded(NOISE, kind="JPEG")[:-500], "is truncated or damaged"),
        (bomb(1100), "this file has 1100x1100 pixels, more than 1000000"),
        (bomb(60_000), "this file has 60000x60000 pixels, more than 1000000"),
        (bomb(900), "is truncated or damaged"),
        (bytes(1_000_001), "this file is larger than 1 MB"),
        (encoded(GREY[:20]), "choose a photo of at least 32 pixels a side"),
        (encoded(np.zeros((32, 400, 3), np.uint8)), "at most 6 times as long"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_refused(data, message):
    with pytest.raises(InputError, match=message) as caught:
        decode(data, LIMITS)
    assert "\n" not in str(caught.value) and "split" not in str(caught.value)


def test_a_photo_that_fits_stays_itself():
    for size in (None, (40, 60), (400, 600), (203, 304)):
        fitted = fit(GREY, size)
        assert fitted.image.shape == GREY.shape and fitted.note == ""


def test_other_aspects_lose_their_borders():
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 20:80] = 1
    fitted = fit(image, (40, 60))
    assert fitted.image.shape == (40, 60, 3) and fitted.image.min() == 1 and "cut to its middle" in fitted.note
    assert fit(image.transpose(1, 0, 2), (40, 60)).image.shape == (27, 40, 3)


def test_large_photos_are_reduced():
    fitted = fit(np.zeros((2000, 3000, 3), np.uint8), None)
    height, width = fitted.image.shape[:2]
    assert abs(height * width / SEEN_PIXELS - 1) < 0.01 and abs(width / height - 1.5) < 0.01
    assert fitted.note == f"reduced to {width}x{height}"


def test_photos_are_reduced_to_a_side():
    assert fit(GREY, None, 30).image.shape == (20, 30, 3) and fit(GREY, None, 30).note == "reduced to 30x20"
    assert fit(GREY, None, 60).note == ""
    assert fit(GREY, (40, 40), 20).image.shape == (20, 20, 3)
