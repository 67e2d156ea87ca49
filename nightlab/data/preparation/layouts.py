"""Finds the images and label maps of a download by the layouts it is known to come in.

An id is `<split>/<name>`, as `train/Beijing_0001`: what the cards of prepared sets put for `{id}`.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from nightlab.errors import InputError, enumerate_some

STATE = "prepared.json"
# What a preparation calls a label map: names without what tells the ids of a download's.
PREPARED = re.compile(r"(?!.*_(?:label(?:Train)?Ids|trainIds|train_id|color)\.png$).+\.png")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".rar", ".7z")


@dataclass(frozen=True)
class Layout:
    """One way in which a data set is laid out.

    Attributes:
        tree: the layout for people, as it stands in messages.
        images: a pattern with the groups `split` and `name`, for the end of a path; None for labels alone.
        labels: such patterns, the best first: of each split those are taken that match the first one that any matches.
        bare: such a pattern with an empty `split`, for where none of those matches: label maps in a folder of any name.
        split: theirs.
    """

    tree: str
    images: str | None
    labels: tuple[str, ...]
    bare: str | None = None
    split: str = ""


@dataclass(frozen=True)
class Download:
    """Files of a download by id; `layout` is the one that it came in."""

    root: Path
    layout: Layout
    images: Mapping[str, Path]
    labels: Mapping[str, Path]

    @property
    def remarks(self) -> list[str]:
        """What its user should know: files may be of another data set of this layout, below the same root."""
        remarks = []
        for what, files in (("images", self.images), ("label maps", self.labels)):
            # Of each the folder that has its split.
            folders = {path.as_posix().rpartition(f"/{key.partition('/')[0]}/")[0] for key, path in files.items()}
            if len(folders) > 1:
                several = enumerate_some(sorted(folders), 5)
                remarks.append(f"{what} are from several folders, {several}: are all of this data set?")
        return remarks


def find(root: Path, layouts: Sequence[Layout]) -> Download:
    """Looks through everything below `root`, which may be the folder of the layout, one above, or one inside it.

    Raises:
        InputError: no such folder; it holds none of the layouts, images or label maps only, or more than one layout.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; name the one that the archives were extracted to")
    files = list(_files(root))
    found = [Download(root, layout, *_match_all(root, files, layout)) for layout in layouts]
    whole = [d for d in found if d.labels and (d.images or d.layout.images is None)]
    if len(whole) > 1:
        examples = ", and ".join(str(next(iter(d.labels.values()))) for d in whole)
        raise InputError(
            f"{root}: holds more than one layout of this data set ({examples}); name the folder of one of them, or "
            "move the other away"
        )
    if not whole:
        raise InputError(f"{root}: {_what_is_missing(files, found)}")
    return whole[0]


def _what_is_missing(files: Sequence[str], found: Sequence[Download]) -> str:
    """Why a folder cannot be used, for the message."""
    known = " or ".join(d.layout.tree for d in found)
    packed = [f for f in files if f.endswith(ARCHIVES)]
    hint = f"; extract {enumerate_some(packed, 3)} first" if packed else ""
    for download, other in permutations(found, 2):
        if download.images and other.labels:
            return (
                f"has images of {download.layout.tree} and label maps of {other.layout.tree}, which do not belong "
                "together; extract images and label maps of one of them"
            )
    for download in found:
        if download.images and not download.labels:
            return f"has {len(download.images)} images and no label maps of {download.layout.tree}" + (
                hint or "; extract the archive of the labels too, or name the folder above both"
            )
        if download.labels:
            return f"has {len(download.labels)} label maps and no images of {download.layout.tree}" + (
                hint or "; extract the archive of the images too, or name the folder above both"
            )
    return f"holds nothing of {known}" + (hint or "; name the folder that the archives were extracted to")


def _files(root: Path) -> Iterator[str]:
    """Paths below the root, with forward slashes, sorted; links to folders are followed once each."""
    seen = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        if STATE in names:
            folders[:] = [f for f in folders if not f.startswith("lists")]
        folders.sort()
        made = prepared_in(Path(folder), "labels")
        for name in sorted(names):
            # Beginning with a point: among others the ._X.png that macOS puts into archives.
            if not name.startswith(".") and not (made and PREPARED.fullmatch(name)):
                yield os.path.relpath(os.path.join(folder, name), root).replace(os.sep, "/")


def prepared_in(folder: Path, kind: str) -> bool:
    """Whether a folder is where an earlier preparation puts a split's files of a kind, as `labels_fine/train`."""
    return folder.parent.name.startswith(kind) and (folder.parent.parent / STATE).is_file()


def _match_all(root: Path, files: Sequence[str], layout: Layout) -> tuple[dict[str, Path], dict[str, Path]]:
    images = _match(root, files, layout.images) if layout.images else {}
    labels: dict[str, Path] = {}
    for pattern in layout.labels:
        known = {key.partition("/")[0] for key in labels}
        # A split is in one kind of files: another may be in other ids, and would fill in where one of these is lost.
        found = _match(root, files, pattern)
        labels |= {key: path for key, path in found.items() if key.partition("/")[0] not in known}
    if not labels and layout.bare:
        labels = _match(root, files, layout.bare, layout.split)
    return images, labels


def _match(root: Path, files: Sequence[str], pattern: str, split: str = "") -> dict[str, Path]:
    """Files by id. Raises InputError where two files claim one id: then two copies lie below one root."""
    expression = re.compile(f"(?:.*/)?{pattern}")
    above = "/".join(root.resolve().parts[-4:]).strip("/")  # so that `images/` itself may be named
    found: dict[str, Path] = {}
    for file in files:
        stem, point, ending = file.rpartition(".")
        match = expression.fullmatch(f"{above}/{stem}{point}{ending.lower()}")
        if match is None:
            continue
        key = f"{match['split'] or split}/{match['name']}"
        path, other = root / file, found.get(key)
        if other is None or prepared_in(other.parent, "images"):  # what an earlier preparation made of this one
            found[key] = path
        elif not prepared_in(path.parent, "images") and not os.path.samefile(other, path):
            raise InputError(
                f"{root}: {other} and {path} are both '{key}'; name the folder of one copy, or move the other away"
            )
    return found
