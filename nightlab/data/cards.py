"""The dataset card: what one YAML file says about a data set, and how its records, images and labels are read."""

import glob
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from nightlab.data import label_map, reading
from nightlab.data.card_values import did_you_mean
from nightlab.data.paths import (
    ROOT_VARIABLE,
    datasets_root,
    folders_outside,
    refuse_escapes,
    refuse_linked_folders,
    stays_below,
)
from nightlab.errors import CONTROL, InputError, enumerate_some
from nightlab.files import read_limited

Color = tuple[int, int, int]
# Of a list of ids: a million of them with their folders.
MAX_LIST_BYTES = 100_000_000


@dataclass(frozen=True)
class Split:
    """Where the ids of one split come from: a file with one id a line, a glob of image files, the ids themselves, or
    other splits, one after the other."""

    file: str | None = None
    glob: str | None = None
    ids: tuple[str, ...] = ()
    union: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """A data set of image and label files; a `Source` of `nightlab.data.catalog`. docs/cards.md describes every key.

    Attributes:
        root: below `$DETECTRON2_DATASETS`; elsewhere only with `allow_outside`.
        images, labels: paths below the root in which `{id}` stands for the id. `labels` is None for images alone.
        split_ids: (name, where its ids come from) for each split.
        raw_to_class: (raw id, class id or `ignore_label`) pairs; empty for colour-coded labels.
        ignore_ids, ignore_colors: raw ids and RGB colours that map to `ignore_label`.
        allow_outside: may read the folders of `$NIGHTLAB_OUTSIDE` too.
        path: the file that the card was read from, for messages; two cards that differ only here are equal.
    """

    name: str
    root: str
    images: str
    labels: str | None
    split_ids: tuple[tuple[str, Split], ...]
    classes: tuple[str, ...]
    colors: tuple[Color, ...]
    raw_to_class: tuple[tuple[int, int], ...] = ()
    ignore_ids: tuple[int, ...] = ()
    ignore_colors: tuple[Color, ...] = ()
    ignore_label: int = 255
    label_encoding: str = "index"
    allow_outside: bool = False
    description: str = ""
    path: Path | None = field(default=None, compare=False)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.split_ids)

    @property
    def folder(self) -> Path:
        """The root folder, looked up anew each time because the environment may change."""
        return datasets_root() / Path(self.root).expanduser()

    @property
    def where(self) -> str:
        """The card in messages: its file if there is one, else its name."""
        return str(self.path) if self.path else f"card '{self.name}'"

    @property
    def _also(self) -> list[str]:
        """Folders outside of the root that it may read: the card has to ask, and the user to name them."""
        return folders_outside() if self.allow_outside else []

    def check_folder(self) -> None:
        """Raises InputError if the root folder is missing, or lies where the card may not read."""
        if not os.path.isdir(self.folder):
            raise InputError(
                f"{self.folder}: no such folder, the root of data set '{self.name}'; put the data there "
                f"or set {ROOT_VARIABLE} to the folder above it (datasets/README.md shows the tree)"
            )
        # A link right below the folder of all data sets is the user's; one further down came with the data.
        inside = Path(self.root).parts[:1] if stays_below(self.root) else ()
        refuse_escapes(datasets_root().joinpath(*inside), [os.path.join(self.folder, "")], self._also)

    def ids(self, split: str) -> list[str]:
        """The ids of a split, in the order of its list file, or sorted for a `glob`.

        Raises:
            InputError: no such split or root folder; its list is missing, empty or names an id twice; or its glob
                finds nothing.
        """
        source = dict(self.split_ids).get(split)
        if source is None:
            hint = did_you_mean(split, self.splits)
            raise InputError(f"{self.where}: no split '{split}', only {', '.join(self.splits)}{hint}")
        self.check_folder()
        if source.union:
            ids = [i for part in source.union for i in self.ids(part)]
            if twice := [i for i, n in Counter(ids).items() if n > 1]:
                raise InputError(f"{self.where}: the parts of split '{split}' share {enumerate_some(twice)}")
            return ids
        if source.file is not None:
            return self._ids_of_file(self.folder / source.file, split)
        return self._ids_of_glob(source.glob, split) if source.glob is not None else list(source.ids)

    def records(self, split: str) -> list[dict[str, Any]]:
        """One detectron2 dataset dict for each id.

        Its keys are `file_name`, `image_id`, `source` and, where the card has labels, `sem_seg_file_name`. Whether the
        files exist is not looked up here: `catalog.load` does it for all records at once.

        Raises:
            InputError: as `ids`, or a path leads outside the root.
        """
        ids = self.ids(split)
        patterns = {"file_name": self.images} | ({"sem_seg_file_name": self.labels} if self.labels else {})
        root = os.fspath(self.folder)
        records: list[dict[str, Any]] = [
            {key: os.path.join(root, pattern.replace("{id}", i)) for key, pattern in patterns.items()} for i in ids
        ]
        refuse_escapes(self.folder, (record[key] for record in records for key in patterns), self._also)
        for i, record in zip(ids, records, strict=True):
            record.update(image_id=i, source=self)
        return records

    def read_image(self, record: dict[str, Any]) -> np.ndarray:
        """uint8 [H, W, 3], RGB, upright. Raises InputError as `reading.read_image`."""
        return reading.read_image(record["file_name"])

    def read_label(self, record: dict[str, Any]) -> np.ndarray:
        """uint8 [H, W]: class ids 0...K-1 or `ignore_label`.

        Raises:
            InputError: the record has no label, the file is unusable, or an id or a colour in it has no class.
        """
        path = record.get("sem_seg_file_name")
        if path is None:
            raise InputError(f"{record['file_name']}: has no label, since {self.where} has no key 'labels'; add it")
        if self.label_encoding == "color":
            return _color_table(self).map(reading.read_color_label(path), path)
        return label_map.map_indices(reading.read_raw_label(path), _index_table(self), path)

    def orphan_labels(self, split: str) -> list[str]:
        """Label files without an image, for a split whose glob also tells where its labels lie; else nothing."""
        pattern = dict(self.split_ids)[split].glob
        id_pattern = _match(self.images, pattern) if pattern else None
        if id_pattern is None or self.labels is None:
            return []
        found = self._glob(self.labels.replace("{id}", id_pattern))
        known = {self.labels.replace("{id}", i) for i in self.ids(split)}
        return sorted(os.path.join(self.folder, path) for path in found if path not in known)

    def _ids_of_file(self, path: Path, split: str) -> list[str]:
        refuse_escapes(self.folder, [path], self._also)
        try:
            text = read_limited(path, MAX_LIST_BYTES).decode("utf-8-sig")
        except FileNotFoundError:
            raise InputError(
                f"{path}: no such file, the list of split '{split}'; prepare the data set as datasets/README.md says, "
                f"write one id a line, or correct {self.where}"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{path}: the list of split '{split}' cannot be read ({error}); save it as UTF-8 text"
            ) from None
        lines = (line.strip() for line in text.splitlines())
        ids = [line for line in lines if line and not line.startswith("#")]
        if any(map(CONTROL.search, ids)):
            raise InputError(f"{path}: the list of split '{split}' is no plain text; save it as UTF-8 text")
        if not ids:
            raise InputError(f"{path}: the list of split '{split}' is empty; write one id a line")
        if twice := [i for i, n in Counter(ids).items() if n > 1]:
            raise InputError(f"{path}: more than one line each for {enumerate_some(twice)}; leave one")
        return ids

    def _ids_of_glob(self, pattern: str, split: str) -> list[str]:
        found = [path.replace(os.sep, "/") for path in self._glob(pattern)]
        if not found:
            raise InputError(
                f"{self.folder}: no file matches the glob '{pattern}' of split '{split}'; correct it in {self.where}"
            )
        ids = {path: _match(self.images, path) for path in sorted(found)}
        if unfit := [path for path, image_id in ids.items() if image_id is None]:
            raise InputError(
                f"{self.folder}: the glob '{pattern}' of split '{split}' finds files that do not fit the image pattern "
                f"'{self.images}': {enumerate_some(unfit)}; narrow the glob or correct 'images' in {self.where}"
            )
        return [image_id for image_id in ids.values() if image_id is not None]

    def _glob(self, pattern: str) -> list[str]:
        if not self._also:
            refuse_linked_folders(self.folder, pattern)
        return glob.glob(pattern, root_dir=self.folder, recursive=True)


def _match(pattern: str, path: str) -> str | None:
    """The id for which the pattern gives the path."""
    before, _, after = pattern.partition("{id}")
    expression = re.escape(before) + "(?P<id>.+)" + re.escape(after).replace(re.escape("{id}"), "(?P=id)")
    found = re.fullmatch(expression, path)
    return found["id"] if found else None


@lru_cache(maxsize=64)
def _index_table(card: Card) -> np.ndarray:
    return label_map.index_table(dict(card.raw_to_class), card.ignore_ids, card.ignore_label)


@lru_cache(maxsize=64)
def _color_table(card: Card) -> label_map.ColorTable:
    return label_map.ColorTable(card.colors, card.ignore_colors, card.ignore_label)
