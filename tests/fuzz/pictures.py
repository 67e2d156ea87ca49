"""Image files of every kind that comes in, whole and lying about themselves, made by code."""

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from PIL import Image, features

SIZE = (48, 36)
PNG_START = b"\x89PNG\r\n\x1a\n"


def photograph() -> Image.Image:
    draw = np.random.default_rng(0)
    smooth = draw.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(smooth).resize(SIZE, Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.copy().save(stream, kind, **options)
    return stream.getvalue()


def more() -> dict[str, Any]:
    """Options of two further frames; new ones, since a frame remembers how it was saved."""
    return {"save_all": True, "append_images": [photograph().rotate(angle) for angle in (90, 180)]}


def whole() -> dict[str, bytes]:
    """Images that are what they seem: one for each way of storing pixels."""
    rgb = photograph()
    grey, ids = rgb.convert("L"), Image.fromarray(np.indices(SIZE[::-1]).sum(0).astype(np.uint8) % 3)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    files = {
        "rgb.jpg": saved(rgb, "JPEG"),
        "grey.jpg": saved(grey, "JPEG"),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True),
        "turned.jpg": saved(rgb, "JPEG", exif=turned),
        "two.jpg": saved(rgb, "MPO", **more()),
        "rgb.png": saved(rgb, "PNG"),
        "alpha.png": saved(rgb.convert("RGBA"), "PNG"),
        "grey_alpha.png": saved(grey.convert("LA"), "PNG"),
        "palette.png": saved(rgb.quantize(16), "PNG", transparency=3),
        "bits.png": saved(grey.convert("1"), "PNG"),
        "deep.png": saved(deep, "PNG"),
        "deep_rgb.png": cv2.imencode(".png", np.asarray(rgb).astype(np.uint16) * 257)[1].tobytes(),
        "moving.png": saved(rgb, "PNG", **more()),
        "told.png": saved(rgb, "PNG", exif=turned, dpi=(72, 72)),
        "ids.png": saved(ids, "PNG"),
        "palette.gif": saved(rgb.quantize(16), "GIF"),
        "moving.gif": saved(rgb, "GIF", **more()),
        "rgb.webp": saved(rgb, "WEBP"),
        "alpha.webp": saved(rgb.convert("RGBA"), "WEBP", lossless=True, exif=turned),
        "moving.webp": saved(rgb, "WEBP", **more()),
        "rgb.bmp": saved(rgb, "BMP"),
        "bits.bmp": saved(grey.convert("1"), "BMP"),
        "rgb.ppm": saved(rgb, "PPM"),
        "deep.pgm": saved(deep, "PPM"),
        "float.tif": saved(grey.convert("F"), "TIFF"),
        "deep.tif": saved(deep, "TIFF"),
        "cmyk.tif": saved(rgb.convert("CMYK"), "TIFF", compression="tiff_lzw"),
        "lab.tif": saved(Image.merge("LAB", rgb.split()), "TIFF"),
        "pages.tif": saved(rgb, "TIFF", compression="tiff_adobe_deflate", **more()),
        "jpeg.tif": saved(rgb, "TIFF", compression="jpeg"),
        "wrong_suffix.jpg": saved(rgb, "PNG"),
        "wrong_suffix.png": saved(rgb, "JPEG"),
    }
    if features.check("jpg_2000"):
        files["rgb.jp2"] = saved(rgb, "JPEG2000")
    return files


def no_images() -> dict[str, bytes]:
    return {
        "empty.jpg": b"",
        "text.png": b"no image\n",
        "nul.png": bytes(100),
        "drawn.svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "interpreted.eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touched) (w) file\n",
        "archive.jpg": b"PK\x03\x04" + bytes(60),
    }


def bombs() -> dict[str, bytes]:
    """A few bytes that announce a huge image, or a small one that costs much."""
    side = 50_000
    long = struct.pack(">H", 65_500)
    jpeg, webp = saved(photograph(), "JPEG"), saved(photograph(), "WEBP", lossless=True)
    start = jpeg.index(b"\xff\xc0") + 5
    animated = saved(photograph(), "WEBP", **more())
    canvas = animated.index(b"VP8X") + 12
    wide = struct.pack("<I", 15_000)[:3] * 2
    whole = png(4, 4, zlib.compress(bytes(52)))
    files = {
        "endless_chunk.png": whole[:33] + b"\x7f\xff\xff\xff" + whole[33:],
        "canvas.webp": animated[:canvas] + wide + animated[canvas + 6 :],
        "bomb.png": png(side, side, zlib.compress(bytes(side * 20))),
        "bomb_of_millions.png": png(0x7FFFFFFF, 0x7FFFFFFF, b""),
        "bomb.jpg": jpeg[:start] + 2 * long + jpeg[start + 4 :],
        "bomb.gif": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;",
        "bomb_frame.gif": b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;",
        "bomb.bmp": bmp(side, side),
        "negative.bmp": bmp(-5, -5),
        "bomb.ppm": b"P6\n%d %d\n255\n" % (side, side) + bytes(99),
        "bomb_digits.ppm": b"P6\n" + b"9" * 5000,
        "bomb.tif": tiff(side, side),
        "bomb_tile.tif": tiff(64, 64, tile=60_000),
        "bomb.webp": webp[:21] + struct.pack("<I", 16_382 | 16_382 << 14) + webp[25:],
        "text_bomb.png": png(4, 4, zlib.compress(bytes(52)), [(b"zTXt", b"a\0\0" + zlib.compress(bytes(20_000_000)))]),
        "profile_bomb.png": png(
            4, 4, zlib.compress(bytes(52)), [(b"iCCP", b"a\0\0" + zlib.compress(bytes(20_000_000)))]
        ),
    }
    return files


def png(width: int, height: int, data: bytes, before: list[tuple[bytes, bytes]] = []) -> bytes:  # noqa: B006
    """An RGB PNG of this header and these compressed rows."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), *before, (b"IDAT", data), (b"IEND", b"")]
    return PNG_START + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


def large(side: int) -> dict[str, bytes]:
    """Files of some kilobytes that hold every pixel that they announce: dearest of what the limits let through."""
    rgb, grey = Image.new("RGB", (side, side)), Image.new("L", (side, side))
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "large.png": saved(rgb, "PNG", exif=turned),
        "large_palette.png": saved(grey.convert("P"), "PNG"),
        "large_deep.png": saved(grey.convert("I;16"), "PNG"),
        "large.jpg": saved(rgb, "JPEG", progressive=True, exif=turned),
        "large.gif": saved(grey, "GIF"),
        "large.webp": saved(rgb, "WEBP", lossless=True),
        "large.tif": saved(rgb, "TIFF", compression="tiff_adobe_deflate"),
        "large.jp2": saved(rgb.convert("RGBA"), "JPEG2000"),
    }


def bmp(width: int, height: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + header + bytes(99)


def tiff(width: int, height: int, tile: int = 0) -> bytes:
    """A grey TIFF, deflated, of one strip or one tile of `tile` pixels a side."""
    data = zlib.compress(bytes(10_000))
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1}
    tags |= {322: tile, 323: tile, 324: 8, 325: len(data)} if tile else {273: 8, 278: height, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def scans(side: int, number: int) -> bytes:
    """A progressive JPEG with as many scans as one likes: each costs a pass over the image and a few bytes."""
    data = saved(Image.new("L", (side, side), 99), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:last] + data[last:-2] * number + data[-2:]
