"""Files read no further than they should be, and written aside and renamed, so that nobody meets half of one."""

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightlab.errors import InputError


def read_limited(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a file of at most `most` bytes.

    Raises:
        OSError: as `open`.
        InputError: it is larger, or a pipe or a device, which may never end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):  # open() has words for a folder
        raise InputError(f"{path}: is a pipe or a device; give a file")
    if found.st_size > most:
        raise InputError(f"{path}: has {found.st_size} bytes, more than the {most} that are read; give a smaller file")
    with open(path, "rb") as file:
        return file.read(found.st_size)


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; it takes the place of `path` when the block ends without an error.

    Its ending is that of `path`, which some writers go by. After an error it is removed; one of the system that names
    no file names `path` then. It is on the disk before it is renamed, so that a machine that stops does not leave an
    empty file of that name.
    """
    aside = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # as where a disk is full
            error.filename = str(path)
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def explained_full_disk() -> Iterator[None]:
    """Inside, the error of a full disk, a used-up quota or a disk that has become read-only (as Linux makes one that
    fails) becomes an InputError; other errors stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise
        raise InputError(
            f"{error.filename or 'a file of the run'}: cannot be written ({error.strerror}); make room, or the disk "
            "writable again, then run the same command with --resume"
        ) from error


@contextmanager
def named_if_unwritable(path: Path, remedy: str) -> Iterator[None]:
    """Inside, an error of the system becomes an InputError that names the file and what to do."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); {remedy}") from None


def write_json_aside(path: Path, content: object) -> None:
    """Write a JSON file that others go by, in place of what was there (see `written_aside`)."""
    with written_aside(path) as aside:
        aside.write_text(_as_text(content), encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Write what `--json` of a command line asks for. Raises InputError where the file cannot be written."""
    with named_if_unwritable(path, "name another file for --json"):
        path.write_text(_as_text(content), encoding="utf-8")


def _as_text(content: object) -> str:
    return json.dumps(content, indent=1) + "\n"
