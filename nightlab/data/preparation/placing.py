"""Puts files into the prepared tree without copying where that can be avoided, and knows which are up to date."""

import os
import shutil
from pathlib import Path

from nightlab.files import written_aside


def place_image(source: Path, target: Path) -> str:
    """Makes `target` the same file as `source`: by a hard link, or a copy across file systems; says which it was.

    Hard, because cards do not read what soft links outside their root point to, and so that deleting the download
    loses nothing.
    """
    if target.exists() and os.path.samefile(source, target):
        return "unchanged"
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(target) as aside:
        aside.unlink(missing_ok=True)
        try:
            os.link(os.path.realpath(source), aside)
            return "linked"
        except OSError:
            shutil.copy2(source, aside)
            return "copied"


def same_stamp(source: Path, target: Path) -> bool:
    """Whether `target` was made from `source` as it is now: both exist and were last changed at one time."""
    try:
        return source.stat().st_mtime_ns // 1000 == target.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        return False


def stamp_as(source: Path, target: Path) -> None:
    """Gives `target` the time at which `source` was last changed."""
    status = source.stat()
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
