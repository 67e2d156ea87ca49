"""Where pictures go: a folder of images, an encoded video, or a window. None of them leaves half a file."""

import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np

from nightlab.errors import InputError
from nightlab.files import written_aside

TITLE = "NightLab"
QUIT = (27, ord("q"))
NO_KEY = -1  # of cv2.waitKey
LOOK_MS = 100  # so often a window that waits looks whether it is still there


class Sink(Protocol):
    """Takes pictures `[h, w, 3]` (uint8, RGB); `show` is false once the user has seen enough."""

    written: int

    def show(self, name: str, picture: np.ndarray) -> bool: ...


class Folder:
    """One PNG for each picture."""

    def __init__(self, folder: Path):
        make_folder(folder)
        self.folder = folder
        self.written = 0

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.png"

    def show(self, name: str, picture: np.ndarray) -> bool:
        # cv2.imwrite would say nothing of a full disk.
        png = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
        try:
            with written_aside(self.path(name)) as aside:
                aside.write_bytes(png.tobytes())
        except OSError as error:
            raise InputError(
                f"{self.path(name)}: cannot be written ({error.strerror}); name another --output"
            ) from None
        self.written += 1
        return True


class VideoFile:
    """One video of `rate` frames a second, complete or not there at all.

    Live pictures are repeated or left out so that the video takes the time that filming took.
    """

    def __init__(self, aside: Path, rate: float, live: bool):
        self.written = 0
        self._aside, self._rate, self._live = aside, rate, live
        self._writer: Any = None
        self._size = (0, 0)
        self._start = 0.0

    def show(self, name: str, picture: np.ndarray) -> bool:
        height, width = picture.shape[0] // 2 * 2, picture.shape[1] // 2 * 2  # encoders want even sizes
        if self._writer is None:
            self._size, self._start = (width, height), time.monotonic()
            self._writer = cv2.VideoWriter(str(self._aside), cv2.VideoWriter.fourcc(*"mp4v"), self._rate, self._size)
            if not self._writer.isOpened():
                raise InputError(f"{self._aside.parent}: OpenCV cannot write .mp4 there; name another --output")
        picture = picture[:height, :width]
        if (width, height) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        copies = 1
        if self._live:
            copies = int((time.monotonic() - self._start) * self._rate) + 1 - self.written
        for _ in range(copies):
            self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            self.written += 1
        return True

    def close(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextmanager
def video_file(path: Path, rate: float, *, live: bool = False) -> Iterator[VideoFile]:
    """A video that gets its name when it is complete.

    Raises:
        InputError: it would hold no picture, or cannot be written to its end, as when the disk is full.
    """
    make_folder(path.parent)
    with written_aside(path) as aside:
        sink = VideoFile(aside, rate, live)
        try:
            yield sink
        finally:
            sink.close()
        if not sink.written:
            raise InputError(f"{path}: not written, since no frame could be read")
        there = _count_frames(aside)  # OpenCV raises no error of the disk
        if there != sink.written:
            raise InputError(
                f"{path}: cannot be written: {there} of {sink.written} frames arrived; make room, or name another "
                "--output"
            )


def _count_frames(video: Path) -> int:
    """Frames that can be decoded, whatever the header says."""
    capture = cv2.VideoCapture(str(video.resolve()))
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


class Window(AbstractContextManager["Window"]):
    """A window; q, Esc or closing it ends. Each picture waits for a key, or with `wait` 1 goes on by itself."""

    def __init__(self, wait: int = 0):
        """Raises InputError where OpenCV has no windows."""
        check_window()
        self.written = 0
        self._wait = wait
        self._was_open = False
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL)

    def show(self, name: str, picture: np.ndarray) -> bool:
        cv2.imshow(TITLE, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.written += 1
        while True:
            key = cv2.waitKey(self._wait or LOOK_MS)
            if key & 0xFF in QUIT or self._is_closed():
                return False
            if self._wait or key != NO_KEY:
                return True

    def _is_closed(self) -> bool:
        """Whether somebody closed it; a window that never says that it is open is not known to be closed."""
        is_open = cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) > 0
        self._was_open |= is_open
        return self._was_open and not is_open

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()


def check_window() -> None:
    """Raises InputError where OpenCV cannot open a window. Without a display some builds would end the process."""
    reason = ""
    if re.search(r"GUI:\s+NONE", cv2.getBuildInformation()):
        reason = "this OpenCV is built without windows (opencv-python-headless; opencv-python in its place has them)"
    elif sys.platform.startswith("linux") and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        reason = "there is no display for a window"
    if reason:
        raise InputError(f"{reason}; name --output, and the pictures are written there")


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name another --output") from None
