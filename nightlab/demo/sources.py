"""Frames to look at: image files, a video, or a camera. A frame that cannot be read is told, not raised."""

import glob
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import cv2
import numpy as np

from nightlab.data.reading import NO_SPLIT_REMEDY, read_image
from nightlab.errors import InputError
from nightlab.picture_limits import MAX_FRAME_PIXELS

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
USUAL_RATE = 25.0
# What cameras and screens have, and what encoders can write.
HIGHEST_RATE = 1000.0
LONGEST_ASPECT = 20
# So many frames in a row that cannot be decoded are the end, whatever length the file's header names.
MAX_UNREAD = 250


class Frame(NamedTuple):
    """One frame: its name and its image, uint8 `[H, W, 3]`, RGB; None where it could not be read, for `reason`."""

    name: str
    image: np.ndarray | None
    reason: str = ""


class Source(Protocol):
    """Frames in order, and how many there are; None where nobody knows."""

    total: int | None

    def __iter__(self) -> Iterator[Frame]: ...


class Images:
    """Image files."""

    def __init__(self, files: Sequence[Path]):
        self.files = files
        self.total: int | None = len(files)

    def __iter__(self) -> Iterator[Frame]:
        for file, name in zip(self.files, distinct_stems(self.files), strict=True):
            try:
                image = read_image(file, max_pixels=MAX_FRAME_PIXELS, otherwise=NO_SPLIT_REMEDY)
                _check_size(str(file), *image.shape[:2])
                yield Frame(name, image)
            except InputError as error:
                yield Frame(name, None, str(error))


class Video:
    """A video file, or a camera by its number: `rate` frames a second."""

    def __init__(self, origin: str | int):
        """Raises InputError where there is no such video or camera."""
        self.name = f"camera{origin}" if isinstance(origin, int) else Path(origin).stem
        self.is_camera = isinstance(origin, int)
        self.files = [] if isinstance(origin, int) else [Path(origin)]
        if isinstance(origin, str) and not Path(origin).is_file():
            raise InputError(f"{origin}: no such video file")
        # An absolute path can be nothing but a file; other names could be addresses to FFmpeg.
        self._capture = cv2.VideoCapture(os.path.abspath(origin) if isinstance(origin, str) else origin)
        if not self._capture.isOpened():
            hint = "connect one, or name --video-input" if self.is_camera else "convert it, as to an .mp4 file"
            raise InputError(f"{origin}: OpenCV cannot open this {'camera' if self.is_camera else 'video'}; {hint}")
        width, height = (self._capture.get(key) for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        if width and height:
            _check_size(str(origin), int(height), int(width))
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if math.isfinite(rate) and 0 < rate <= HIGHEST_RATE else USUAL_RATE
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.total: int | None = int(count) if not self.is_camera and count > 0 else None

    def __iter__(self) -> Iterator[Frame]:
        number, unread, shown_ms = 0, 0, math.nan
        gaps: list[tuple[int, int]] = []
        try:
            while True:
                known, bgr = self._capture.read()
                number += 1
                if known:
                    for back in range(unread, 0, -1):
                        yield self._unreadable(number - back)
                    before_ms, shown_ms = shown_ms, self._capture.get(cv2.CAP_PROP_POS_MSEC)
                    if (room := self._periods(before_ms, shown_ms) - 1 - unread) > 0:
                        gaps.append((number - 1 - unread, room))
                    unread = 0
                    yield Frame(f"{self.name} {number}", cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
                    continue
                unread += 1
                at_end = self.is_camera if self.total is None else number >= self.total
                if at_end or unread > MAX_UNREAD:
                    break
        finally:
            self._capture.release()
        if self.total is None and number == unread:
            yield Frame(self.name, None, f"{self.name}: no frame of it can be decoded")
        yield from self._missing(0 if self.total is None else self.total - number + unread, gaps)

    def _missing(self, number: int, gaps: Sequence[tuple[int, int]]) -> Iterator[Frame]:
        """What to say of `number` frames that the file names and nobody saw.

        Some decoders pass over what they cannot decode; then there is a gap in the times of frames: after so many, room
        for so many. Where no frame is missing, gaps are those of an uneven rate.
        """
        passed = 0
        for after, room in gaps:
            lost = min(room, number)
            if lost > 0:
                what = "a frame" if lost == 1 else f"{lost} frames"
                yield Frame(self.name, None, f"{self.name}: {what} after frame {after + passed} cannot be decoded")
                number, passed = number - lost, passed + lost
        # Counts in a file's header may be one too high; more than that, and the end is missing.
        if number > 1:
            yield Frame(self.name, None, f"{self.name}: ends {number} frames short of the {self.total} it names")

    def _periods(self, before_ms: float, now_ms: float) -> int:
        """Whole periods of the frame rate from one frame's time to the next one's; 1 where times are not known."""
        periods = (now_ms - before_ms) * self.rate / 1000
        return round(periods) if math.isfinite(periods) else 1

    def _unreadable(self, number: int) -> Frame:
        return Frame(f"{self.name} {number}", None, f"{self.name}: frame {number} cannot be decoded")


def find_images(inputs: Iterable[str]) -> list[Path]:
    """The image files that are named, lie in a named folder, or match a pattern; each once, in that order.

    Raises:
        InputError: one of the inputs leads to no file, or to a folder that cannot be listed.
    """
    files: dict[Path, None] = {}
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = _in_folder(path)
        elif path.exists():
            found = [path]
        else:
            found = sorted(Path(match) for match in glob.glob(given, recursive=True) if Path(match).is_file())
        if not found:
            what = f"holds no image ({', '.join(SUFFIXES)})" if path.is_dir() else "no such file, folder, nor a match"
            raise InputError(f"{given}: {what}")
        files.update(dict.fromkeys(found))
    return list(files)


def _in_folder(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from None


def _check_size(name: str, height: int, width: int) -> None:
    if height * width > MAX_FRAME_PIXELS or max(height, width) > LONGEST_ASPECT * min(height, width):
        raise InputError(
            f"{name}: has {width}x{height} pixels; a frame may have {MAX_FRAME_PIXELS}, and be {LONGEST_ASPECT} times "
            "as long as it is wide; scale it down or cut it"
        )


def distinct_stems(files: Iterable[Path]) -> list[str]:
    """File names without their endings; a number tells apart those that are equal then."""
    names: dict[str, None] = {}
    again: Counter[str] = Counter()
    for file in files:
        name = file.stem
        while name in names:
            again[file.stem] += 1
            name = f"{file.stem}_{again[file.stem] + 1}"
        names[name] = None
    return list(names)
