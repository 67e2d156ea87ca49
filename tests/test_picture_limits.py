"""What a header says of a picture's size is what Pillow says; what is cut off or of another format says nothing."""

import io

import numpy as np
import pytest
from PIL import Image

from nightlab.picture_limits import has_too_many_scans, is_cut_jpeg, picture_size


def encoded(kind, size=(37, 21), **options):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(
        stream, kind, **options
    )
    return stream.getvalue()


TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True, "exif": TURNED, "comment": b"\xff\xc0 in a comment"}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"exif": TURNED}),
    ],
)
def test_sizes_are_known_before_decoding(kind, options):
    data = encoded(kind, **options)
    assert picture_size(data) == (37, 21)
    assert all(picture_size(data[:end]) in (None, (37, 21)) for end in range(0, len(data), 3))


def test_other_formats_say_nothing():
    assert picture_size(encoded("BMP")) is None and picture_size(b"") is None and picture_size(b"RIFF    WEBP") is None


def test_jpegs_without_an_end_and_with_too_many_scans():
    data = encoded("JPEG", progressive=True)
    assert not is_cut_jpeg(data) and is_cut_jpeg(data[:-2]) and not is_cut_jpeg(data + b"notes")
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert not has_too_many_scans(data) and has_too_many_scans(data[:-2] + 100 * scan + data[-2:])
