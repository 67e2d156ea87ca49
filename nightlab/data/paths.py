"""Where data sets lie, and the rule that a card reads nothing outside its root folder."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from nightlab.errors import InputError, enumerate_some

ROOT_VARIABLE = "DETECTRON2_DATASETS"
OUTSIDE_VARIABLE = "NIGHTLAB_OUTSIDE"


def datasets_root() -> Path:
    """The folder above all data sets: `$DETECTRON2_DATASETS`, else `datasets` in the working directory."""
    return Path(os.environ.get(ROOT_VARIABLE) or "datasets").expanduser()


def stays_below(relative: str) -> bool:
    """Whether a relative path, read as text, cannot leave the folder that it starts from."""
    path = Path(relative)
    return not path.is_absolute() and not relative.startswith("~") and ".." not in path.parts


def folders_outside() -> list[str]:
    """Folders beside the data sets' own that the user lets cards read, if these ask for it: `$NIGHTLAB_OUTSIDE`."""
    return [folder for folder in os.environ.get(OUTSIDE_VARIABLE, "").split(os.pathsep) if folder]


def refuse_escapes(
    root: str | os.PathLike[str], paths: Iterable[str | os.PathLike[str]], also: Iterable[str] = ()
) -> None:
    """Checks that paths lie below `root`, or below a folder of `also`, after every link is followed.

    `root` and `also` themselves may be links.

    Raises:
        InputError: names the first ten paths that lead outside.
    """
    allowed = [os.path.realpath(folder) for folder in (root, *also)]
    folder_is_below: dict[str, bool] = {}  # one look-up a folder, not one a file
    outside = []
    for given in paths:
        path = os.fspath(given)
        folder, name = os.path.split(path)
        if folder not in folder_is_below:
            folder_is_below[folder] = _is_below(folder, allowed)
        leads_on = name == ".." or os.path.islink(path)
        if not folder_is_below[folder] or (leads_on and not _is_below(path, allowed)):
            outside.append(path)
    if outside:
        raise InputError(
            f"{enumerate_some(outside)}: outside the data set's root {root} (through '..' or a link); move the data "
            "below the root, or, if that is meant, set 'allow_outside: true' in the card and name the folder in "
            f"{OUTSIDE_VARIABLE}"
        )


def refuse_linked_folders(root: str | os.PathLike[str], pattern: str) -> None:
    """Checks that `**` in a glob below `root` goes through no link, which could lead outside, or in circles.

    Raises:
        InputError: names the first ten links.
    """
    if "**" not in pattern:
        return
    start = os.path.join(root, os.path.dirname(re.split(r"[*?[]", pattern)[0]), "")
    refuse_escapes(root, [start])
    linked = []
    for folder, below, _ in os.walk(start):
        below[:] = [name for name in below if not name.startswith(".")]  # as glob
        linked += [path for path in (os.path.join(folder, name) for name in below) if os.path.islink(path)]
    if linked:
        raise InputError(
            f"{enumerate_some(linked)}: a link to a folder, which ** in the glob '{pattern}' does not follow; write "
            f"its * one by one, or set 'allow_outside: true' in the card and name the folder in {OUTSIDE_VARIABLE}"
        )


def _is_below(path: str, allowed: Iterable[str]) -> bool:
    real = os.path.realpath(path)
    return any(real == root or real.startswith(os.path.join(root, "")) for root in allowed)
