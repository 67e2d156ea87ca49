"""Registers sources of labelled scenes with detectron2, and loads checked records by name."""

import difflib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog

from nightlab import places
from nightlab.data.card_schema import load_card
from nightlab.data.cards import Card
from nightlab.data.nightstreet import NightStreet
from nightlab.errors import InputError, enumerate_some

logger = logging.getLogger(__name__)

BUILTIN_CARDS = places.folder("cards")

_sources: dict[str, "Source"] = {}
_owners: dict[str, str] = {}  # registered name, as "camvid_train" -> name of its source
_faulty_cards: dict[Path, str] = {}
# Inside of `looked_up_once`, the records of each name by whether it needs labels.
_kept: dict[tuple[str, bool], list[dict[str, Any]]] | None = None


@runtime_checkable
class Source(Protocol):
    """A set of labelled scenes: a `Card` of files, `NightStreet`, or your own.

    A record is a detectron2 dataset dict with `file_name`, `image_id`, `source` (this object) and, where labels are
    files, `sem_seg_file_name`. Two sources that compare equal are the same data.
    """

    @property
    def name(self) -> str: ...

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def colors(self) -> tuple[tuple[int, int, int], ...]: ...

    @property
    def ignore_label(self) -> int: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def records(self, split: str) -> list[dict[str, Any]]:
        """One dataset dict for each scene of a split."""

    def read_image(self, record: dict[str, Any]) -> np.ndarray:
        """uint8 [H, W, 3], RGB."""

    def read_label(self, record: dict[str, Any]) -> np.ndarray:
        """uint8 [H, W]: class ids 0...K-1 or `ignore_label`. Raises InputError for a record without a label."""


def register_source(source: Source) -> None:
    """Registers every split as `<source>_<split>` with detectron2; nothing is read until its records are asked for.

    An equal source under the same name changes nothing.

    Raises:
        InputError: another source or detectron2 itself already has one of the names.
    """
    if _sources.get(source.name) == source:
        return
    if source.name in _sources:
        other = _describe(_sources[source.name])
        raise InputError(f"{_describe(source)}: the name '{source.name}' is taken by {other}; rename one")
    names = {split: f"{source.name}_{split}" for split in source.splits}
    for name in names.values():
        if name in DatasetCatalog.list():
            owner = f"source '{_owners[name]}'" if name in _owners else "detectron2"
            raise InputError(
                f"{_describe(source)}: {owner} has already registered '{name}'; rename the card or its split"
            )
    for split, name in names.items():
        DatasetCatalog.register(name, partial(source.records, split))
        MetadataCatalog.get(name).set(
            stuff_classes=list(source.classes),
            stuff_colors=[list(color) for color in source.colors],
            ignore_label=source.ignore_label,
            evaluator_type="sem_seg",
            source_name=source.name,
        )
        _owners[name] = source.name
    _sources[source.name] = source


def register_cards(paths: Iterable[str | Path]) -> None:
    """Registers card files, and all `*.yaml` of folders. Raises InputError as `load_card` and `register_source`."""
    for path in map(Path, map(str, paths)):
        for file in _card_files(path) if os.path.isdir(path) else [path]:
            register_source(load_card(file))


def register_builtin() -> None:
    """Registers NightStreet and the cards of `datasets/cards`.

    A faulty card there must not stop commands that do not use it: it is logged, and `load` quotes the reason.
    """
    register_source(NightStreet(name="nightstreet", size=(256, 512)))
    register_source(NightStreet(name="nightstreet_full", size=(1024, 2048)))
    for file in _card_files(BUILTIN_CARDS):
        try:
            register_cards([file])
            _faulty_cards.pop(file, None)
        except InputError as error:
            _faulty_cards[file] = str(error)
            logger.warning("card left out: %s", error)


def get_source(name: str) -> Source:
    """The source of a registered name, as `camvid_train`, or of a source's own name, as `camvid`.

    Raises:
        InputError: nothing is registered under this name; near matches are listed.
    """
    if not isinstance(name, str):
        raise InputError(f'{name!r}: a data set is named in quotes, as DATASETS.TRAIN: ("camvid_train",)')
    owner = _owners.get(name, name)
    if owner in _sources:
        return _sources[owner]
    if name in DatasetCatalog.list():
        raise InputError(f"data set '{name}' is known to detectron2 but not to NightLab; write a card (docs/cards.md)")
    near = difflib.get_close_matches(name, [*_owners, *_sources], 4, 0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"there are the splits of {', '.join(sorted(_sources))}."
    faulty = "".join(f"; a card was left out: {reason}" for reason in _faulty_cards.values())
    raise InputError(
        f"no data set '{name}'; {hint} For your own data write a card (docs/cards.md) and name its file in "
        f"DATASETS.CARDS{faulty}"
    )


def split_of(name: str) -> str:
    """The split in a registered name: `train` of `camvid_train`. Raises InputError as `get_source`."""
    source = get_source(name)
    if name not in _owners:
        choices = ", ".join(f"{name}_{split}" for split in source.splits)
        raise InputError(f"'{name}' names no split; choose from {choices}")
    return name[len(source.name) + 1 :]


def load(names: str | Sequence[str], *, require_labels: bool = True) -> list[dict[str, Any]]:
    """The records of several registered names, one after the other.

    Args:
        require_labels: refuse sets that have images only, and sets whose classes differ. Otherwise a record whose label
            file is missing comes without it.

    Raises:
        InputError: no name is given or one is unknown, the classes of two sets differ, a set is empty or lacks labels,
            or files of its records are missing (the first ten are named).
    """
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise InputError('no data set is named; set it in the configuration, as DATASETS.TRAIN: ("camvid_train",)')
    splits = [(get_source(name), split_of(name)) for name in names]
    first = splits[0][0]
    for name, (source, _) in zip(names, splits, strict=True):
        if require_labels and (source.classes != first.classes or source.ignore_label != first.ignore_label):
            raise InputError(
                f"data sets '{names[0]}' ({len(first.classes)} classes) and '{name}' ({len(source.classes)} classes) "
                "differ in classes or ignore label; use one of them, or map both to the same classes in their cards"
            )
        if require_labels and isinstance(source, Card) and source.labels is None:
            raise InputError(f"data set '{name}' has images only; add 'labels' to {source.where}, or use another set")
    known = {} if _kept is None else _kept
    found: dict[tuple[str, bool], list[dict[str, Any]]] = {}
    for name, (source, split) in zip(names, splits, strict=True):
        if (name, require_labels) not in known:
            found[name, require_labels] = source.records(split)
            if not found[name, require_labels]:
                raise InputError(f"data set '{name}' is empty; add images to its split")
    fresh = [record for records in found.values() for record in records]
    if not require_labels:
        _forget_missing_labels(fresh)
    check_files(fresh)
    known.update(found)
    return [record for name in names for record in known[name, require_labels]]


@contextmanager
def looked_up_once() -> Iterator[None]:
    """Inside, `load` looks up each set once. What vanishes later is told by who reads it: a run that goes on without a
    file must neither end where its next stage begins, nor count its images anew and hold out others."""
    global _kept
    before, _kept = _kept, {}
    try:
        yield
    finally:
        _kept = before


def check_files(records: Iterable[dict[str, Any]]) -> None:
    """Looks up once that every file of the records exists. Raises InputError that names the first ten missing ones."""
    missing: list[str] = []
    for record in records:
        if not isinstance(record["source"], Card):
            continue  # made scenes have no files
        missing += [
            record[key]
            for key in ("file_name", "sem_seg_file_name")
            if key in record and not os.path.isfile(record[key])
        ]
    if missing:
        raise InputError(
            f"{len(missing)} file(s) missing: {enumerate_some(missing)}; restore them or take their ids out of the "
            "split (ids stand without the folder and ending that the patterns have); tools/check_dataset.py lists all"
        )


def _forget_missing_labels(records: Iterable[dict[str, Any]]) -> None:
    """Takes label files that do not exist out of the records of cards, in place."""
    for record in records:
        path = record.get("sem_seg_file_name")
        if path is not None and isinstance(record["source"], Card) and not os.path.isfile(path):
            del record["sem_seg_file_name"]


def _card_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.glob("*.y*ml") if file.suffix in (".yaml", ".yml"))


def _describe(source: Source) -> str:
    return source.where if isinstance(source, Card) else f"source '{source.name}'"
