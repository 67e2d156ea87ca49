"""What a header says of a picture's size is what Pillow says; what is cut off or of another format says nothing."""

import io

import numpy as np
import pytest
from PIL import Image

from nightlab.data.reading import read_image
from nightlab.errors import InputError
from nightlab.picture_limits import has_too_many_scans, is_cut, picture_size
from nightlab.runtime.frames import as_frame


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
    assert not is_cut(data) and is_cut(data[:-2]) and not is_cut(data + b"notes")
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert not has_too_many_scans(data) and has_too_many_scans(data[:-2] + 100 * scan + data[-2:])


def test_pngs_with_a_chunk_that_ends_behind_the_file(tmp_path):
    data = encoded("PNG")
    assert not is_cut(data) and not is_cut(data + b"notes") and is_cut(data[:-20])
    at = data.index(b"IDAT") - 4
    for damaged in (data[:at] + b"\x7f\xff\xff\xff" + data[at:], data[:at] + b"\x7f\xff\xff\xff" + data[at + 4 :]):
        assert is_cut(damaged)
        (tmp_path / "long.png").write_bytes(damaged)
        with pytest.raises(InputError, match=r"long\.png: .*is it whole"):
            as_frame(tmp_path / "long.png")


def test_what_is_no_scan_of_the_picture_does_not_count(tmp_path):
    """In other formats, in a comment, and behind the end, where phones put the film of a photo."""
    other = 101 * b"\xff\xda"
    assert not has_too_many_scans(encoded("PNG") + other) and not is_cut(encoded("WEBP"))
    photo = encoded("JPEG", comment=other) + other + b"\xff\xd8" + other
    assert not has_too_many_scans(photo) and not is_cut(photo)
    (tmp_path / "photo.jpg").write_bytes(photo)
    assert read_image(tmp_path / "photo.jpg").shape == as_frame(tmp_path / "photo.jpg").shape == (21, 37, 3)


def test_scans_are_counted_as_decoders_see_them():
    """Behind filling, restarts, stray bytes, and segments too short to hold their own length."""
    data = encoded("JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    for between in (b"\xff", b"\xff\xd0", b"stray\xff\x00", b"\xff\xfe\x00\x00", b"\xff\xfe\x00\x04no"):
        assert has_too_many_scans(data[:-2] + 100 * (between + scan) + data[-2:])
    assert is_cut(data[:-2] + b"\xff\xfe\xff\xff" + data[-2:])  # a segment that ends behind the file
