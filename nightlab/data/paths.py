"""Where data sets lie, and the rule that a card reads nothing outside its root folder."""

import os
from collections.abc import Iterable
from pathlib import Path

from nightlab.errors import InputError, enumerate_some

ROOT_VARIABLE = "DETECTRON2_DATASETS"


def datasets_root() -> Path:
    """The folder above all data sets: `$DETECTRON2_DATASETS`, else `datasets` in the working directory."""
    return Path(os.environ.get(ROOT_VARIABLE) or "datasets").expanduser()


def stays_below(relative: str) -> bool:
    """Whether a relative path, read as text, cannot leave the folder that it starts from."""
    path = Path(relative)
    return not path.is_absolute() and not relative.startswith("~") and ".." not in path.parts


def refuse_escapes(root: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]]) -> None:
    """Checks that paths lie below `root` after every link is followed. The root itself may be a link.

    Raises:
        InputError: names the first ten paths that lead outside.
    """
    real_root = os.path.realpath(root)
    folder_is_below: dict[str, bool] = {}  # one look-up a folder, not one a file
    outside = []
    for given in paths:
        path = os.fspath(given)
        folder = os.path.dirname(path)
        if folder not in folder_is_below:
            folder_is_below[folder] = _is_below(os.path.realpath(folder), real_root)
        if not folder_is_below[folder] or (os.path.islink(path) and not _is_below(os.path.realpath(path), real_root)):
            outside.append(path)
    if outside:
        raise InputError(
            f"{enumerate_some(outside)}: outside the data set's root {root} (through '..' or a link); move the data "
            "below the root, or set 'allow_outside: true' in the card if that is meant"
        )


def _is_below(real_path: str, real_root: str) -> bool:
    return real_path == real_root or real_path.startswith(os.path.join(real_root, ""))
