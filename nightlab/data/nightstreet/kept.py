"""Drawn scenes kept as files between runs, in the folder that the environment variable NIGHTSTREET_CACHE names."""

import hashlib
import logging
import os
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from .render import Scene, Time, render

logger = logging.getLogger(__name__)

FOLDER = "NIGHTSTREET_CACHE"


def kept_or_drawn(seed: int, size: tuple[int, int], time: Time) -> Scene:
    """The scene as `render` draws it, from its file where there is one, else drawn and kept.

    Files are those of one version of the drawing code; others, torn ones and those of another shape count as none. A
    folder that cannot be written to costs a warning and the time of drawing.
    """
    folder = os.environ.get(FOLDER)
    if not folder:
        return render(seed, size, time)
    height, width = size
    file = Path(folder, f"{_version()}_{height}x{width}", f"{time}_{seed}.npy")
    try:
        pixels = np.load(file, allow_pickle=False)
        if pixels.shape == (height, width, 4) and pixels.dtype == np.uint8:
            return Scene(np.ascontiguousarray(pixels[..., :3]), np.ascontiguousarray(pixels[..., 3]))
    except (OSError, ValueError, EOFError):
        pass
    scene = render(seed, size, time)
    try:
        _keep(np.dstack([scene.image, scene.label]), file)
    except OSError as error:
        _warn(folder, str(error.strerror))
    return scene


def _keep(pixels: np.ndarray, file: Path) -> None:
    """Written aside under a name of this process and renamed: others may be drawing the same scene."""
    file.parent.mkdir(parents=True, exist_ok=True)
    number, aside = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")
    try:
        with open(number, "wb") as stream:
            np.save(stream, pixels)
        os.replace(aside, file)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


@cache
def _version() -> str:
    """Of the drawing code: the beginning of the hash of its files."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


@cache
def _warn(folder: str, reason: str) -> None:
    logger.warning("%s: scenes cannot be kept in %s (%s); they are drawn anew each time", FOLDER, folder, reason)
