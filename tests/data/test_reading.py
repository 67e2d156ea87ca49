"""Reading files: every kind of image becomes RGB, every kind of label its raw ids, every broken file one clear line."""

import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nightlab.data import reading
from nightlab.data.reading import check_pair, read_color_label, read_image, read_raw_label
from nightlab.errors import InputError

PNG_START = b"\x89PNG\r\n\x1a\n"
IDS = np.arange(12, dtype=np.uint8).reshape(3, 4)


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth picture whose four corners differ, so that a turn or a swap of channels shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, 0 * rows + 60], axis=2).astype(np.uint8)


def save(path: Path, array: np.ndarray, mode: str | None = None, **options: Any) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def complaint(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.webp", "a.ppm"])
def test_lossless_images_come_back_as_saved(tmp_path: Path, name: str) -> None:
    image = read_image(save(tmp_path / name, photo(), lossless=True))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, photo())


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_equals_pillow(tmp_path: Path, mode: str, progressive: bool) -> None:
    path = save(tmp_path / "a.jpg", photo(), mode, progressive=progressive)
    expected = np.asarray(Image.open(path).convert("RGB"), int)
    assert np.abs(read_image(path) - expected).max() <= 2
    assert expected.shape == (40, 60, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"a.{suffix}", photo(), exif=exif)
    with Image.open(path) as stored:
        turned = {6: Image.Transpose.ROTATE_270, 3: Image.Transpose.ROTATE_180}.get(orientation)
        by_hand = stored.transpose(turned) if turned is not None else None
    image = read_image(path).astype(int)
    assert image.shape == ((40, 60, 3) if orientation <= 4 else (60, 40, 3))
    if by_hand is not None:
        assert np.abs(image - np.asarray(by_hand, int)).max() <= 2


def test_grey_images_get_three_channels(tmp_path: Path) -> None:
    grey = photo()[..., 0]
    image = read_image(save(tmp_path / "a.png", grey))
    np.testing.assert_array_equal(image, np.stack([grey] * 3, axis=2))


def test_sixteen_bit_grey_keeps_the_high_byte(tmp_path: Path) -> None:
    deep = np.array([[0, 255, 256], [32768, 65280, 65535]], np.uint16)
    image = read_image(save(tmp_path / "a.png", deep))
    np.testing.assert_array_equal(image[..., 0], [[0, 0, 1], [128, 255, 255]])


def test_alpha_palette_and_cmyk_become_rgb(tmp_path: Path) -> None:
    opaque_or_not = np.dstack([photo(), photo()[..., 0]])
    np.testing.assert_array_equal(read_image(save(tmp_path / "a.png", opaque_or_not)), photo())
    palette = Image.fromarray(photo()).quantize(16)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_image(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    cmyk = read_image(save(tmp_path / "c.jpg", photo(), "CMYK", quality=95)).astype(int)
    assert np.abs(cmyk - photo()).mean() < 8


def test_a_jpeg_with_bytes_after_its_end_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", photo())
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + b"maker's notes")
    np.testing.assert_array_equal(read_image(path), whole)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kept", [0.03, 0.5, 0.9, 0.999])
def test_truncated_jpeg_is_refused(tmp_path: Path, mode: str, kept: float) -> None:
    path = save(tmp_path / "a.jpg", photo(200, 300), mode)
    data = path.read_bytes()
    path.write_bytes(data[: min(int(len(data) * kept), len(data) - 2)])
    assert "take it out of its split" in complaint(read_image, path)


def test_truncated_jpeg_is_refused_where_the_decoder_fills_it_with_grey(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "a.jpg", photo(200, 300))
    path.write_bytes(path.read_bytes()[:1500])
    monkeypatch.setattr(reading.cv2, "imdecode", lambda *_: np.full((200, 300, 3), 128, np.uint8))
    assert "truncated" in complaint(read_image, path)


@pytest.mark.parametrize("read", [read_image, read_raw_label])
def test_broken_files_are_named(tmp_path: Path, read: Callable[[Path], np.ndarray]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8)
    path = save(tmp_path / "a.png", noise)
    path.write_bytes(path.read_bytes()[:5000])
    assert "truncated or damaged" in complaint(read, path)
    (tmp_path / "empty.png").touch()
    assert "is empty" in complaint(read, tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("not an image")
    assert "not a readable file" in complaint(read, tmp_path / "text.png")
    assert "no such file" in complaint(read, tmp_path / "absent.png")
    (tmp_path / "folder.png").mkdir()
    assert "cannot be read" in complaint(read, tmp_path / "folder.png")


def test_files_that_would_run_an_interpreter_are_not_opened(tmp_path: Path) -> None:
    path = save(tmp_path / "a.eps", photo())
    assert "not a readable file" in complaint(read_image, path)


def test_huge_images_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0)  # 400 million pixels, and no data to decode
    (tmp_path / "bomb.png").write_bytes(PNG_START + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b"") * 2)
    assert f"has 20000x20000 pixels, more than {reading.MAX_PIXELS}" in complaint(read_image, tmp_path / "bomb.png")
    monkeypatch.setattr(reading, "MAX_PIXELS", 100)
    assert "60x40 pixels, more than 100" in complaint(read_image, save(tmp_path / "a.jpg", photo()))


def test_floating_point_images_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", photo()[..., 0].astype(np.float32))
    assert "floating point" in complaint(read_image, path)


def test_labels_give_their_stored_numbers(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_raw_label(save(tmp_path / "l.png", IDS)), IDS)
    np.testing.assert_array_equal(read_raw_label(save(tmp_path / "l.bmp", IDS)), IDS)
    deep = IDS.astype(np.uint16) * 1000 + 7
    for name in ("deep.png", "deep.tif"):
        raw = read_raw_label(save(tmp_path / name, deep))
        assert raw.dtype == np.uint16
        np.testing.assert_array_equal(raw, deep)


def test_palette_labels_give_indices_and_not_luminance(tmp_path: Path) -> None:
    palette = Image.fromarray(IDS, "L").convert("P")
    palette.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    palette.save(tmp_path / "p.png")
    assert Image.open(tmp_path / "p.png").mode == "P"
    np.testing.assert_array_equal(read_raw_label(tmp_path / "p.png"), IDS)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    ids = (IDS % 2**bits).astype(np.uint8)
    (tmp_path / "l.png").write_bytes(grey_png(ids, bits))
    np.testing.assert_array_equal(read_raw_label(tmp_path / "l.png"), ids)


def grey_png(ids: np.ndarray, bits: int) -> bytes:
    """A grey PNG of 1, 2 or 4 bits, which Pillow reads but does not write."""
    height, width = ids.shape
    ones = (ids[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(ones.reshape(height, -1).astype(np.uint8), axis=1)
    scanlines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(scanlines))
    return PNG_START + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


def test_rgb_and_lossy_labels_are_refused(tmp_path: Path) -> None:
    assert "label_encoding: color" in complaint(read_raw_label, save(tmp_path / "rgb.png", photo()))
    assert "R+G+B+A" in complaint(read_raw_label, save(tmp_path / "rgba.png", np.dstack([photo(), photo()[..., 0]])))
    assert "lossless" in complaint(read_raw_label, save(tmp_path / "l.jpg", photo()[..., 0]))


def test_ids_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    assert "between 0 and 65535" in complaint(read_raw_label, save(tmp_path / "l.tif", IDS.astype(np.int32) * 70000))


def test_color_labels(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_color_label(save(tmp_path / "rgb.png", photo())), photo())
    palette = Image.fromarray(photo()).quantize(8)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(read_color_label(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    assert "label_encoding: index" in complaint(read_color_label, save(tmp_path / "grey.png", IDS))


def test_check_pair_names_both_files() -> None:
    record = {"file_name": "images/a.jpg", "sem_seg_file_name": "labels/a.png"}
    check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8), record)
    with pytest.raises(InputError, match=r"labels/a.png: .* 12x8 .* images/a.jpg has 6x4"):
        check_pair(np.zeros((4, 6, 3), np.uint8), np.zeros((8, 12), np.uint8), record)


def test_reading_is_fast_enough(tmp_path: Path) -> None:
    smooth = np.asarray(Image.fromarray(photo(45, 60)).resize((480, 360), Image.Resampling.BICUBIC))
    path = save(tmp_path / "a.jpg", smooth, quality=90)
    read_image(path)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        read_image(path)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.004  # seconds for 480x360; about 0.001 on an idle core
