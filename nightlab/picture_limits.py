"""How large pictures may be, and how large a file says its picture is: known before anything is decoded."""

import re
import struct

MAX_PIXELS = 178_956_970
"""Larger images are refused before they are decoded (Pillow's limit for decompression bombs)."""
MAX_FRAME_PIXELS = 36_000_000
"""Of 8K: of frames to segment. One of 19 classes takes some hundred bytes a pixel, in the model and in the panels."""
MAX_BYTES = 1 << 30
"""Larger files are not read: 16-bit RGB of `MAX_PIXELS` as it stands in memory."""
MAX_SCANS = 100
"""Of a progressive JPEG, which has ten as a rule: each costs a pass over all pixels, and may be a few bytes."""

_PNG = b"\x89PNG\r\n\x1a\n"
_START, _SCAN, _END = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
# In a JPEG, bytes 255 are followed by 0 where they are data, by more of them as filling, and there are restarts among
# the data; all else is a marker.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Markers that are followed by the picture's size, and those without a length.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE = frozenset((0x01, *range(0xD0, 0xDA)))


def has_too_many_scans(data: bytes) -> bool:
    """Whether a JPEG has more than `MAX_SCANS`; nothing else has scans."""
    return data.startswith(_START) and data.count(_SCAN) > MAX_SCANS and _scans_and_end(data)[0] > MAX_SCANS


def is_cut(data: bytes) -> bool:
    """Whether a JPEG has no end, as a truncated one, which decoders may fill up with grey, or a PNG has a chunk that is
    said to go on behind the file's end, for which decoders may take as much memory as it says (2 GB, or twice that).
    What follows the end, as the film of a phone's photo, does not count."""
    if data.startswith(_PNG):
        return _has_endless_chunk(data)
    return data.startswith(_START) and not _scans_and_end(data)[1]


def _has_endless_chunk(data: bytes) -> bool:
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        at += 12 + length  # with the length, the kind, and a checksum
        if at > len(data):
            return True
        if kind == b"IEND":
            break
    return False


def _scans_and_end(data: bytes) -> tuple[int, bool]:
    """The scans of a JPEG, and whether it has an end. What its other segments hold, as a thumbnail, is passed over."""
    scans, at = 0, len(_START)
    while found := _MARKER.search(data, at):
        at = found.end()
        if found[0] == _END:
            return scans, True
        scans += found[0] == _SCAN
        if found[0][1] not in _BARE:
            at += max(int.from_bytes(data[at : at + 2], "big"), 2)
    return scans, False


def picture_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) of a JPEG, PNG or WebP; None for all else, and where the file ends before it says so."""
    try:
        if data.startswith(_PNG):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(_START):
            return _jpeg_size(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
    except struct.error:
        pass
    return None


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while True:
        before, marker = struct.unpack_from("BB", data, at)
        if before != 0xFF or marker == 0xFF:  # stray bytes and filling
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        else:
            at += 2 if marker in _BARE else 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp_size(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":  # two numbers of 24 bits, each one less than the size
        both = int.from_bytes(struct.unpack_from("6s", data, 24)[0], "little")
        return (both & 0xFFFFFF) + 1, (both >> 24) + 1
    if kind == b"VP8L":  # two of 14 bits
        (both,) = struct.unpack_from("<I", data, 21)
        return (both & 0x3FFF) + 1, (both >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
