"""Which numbers (or colours) the label maps of a split are written in, told from those that occur in them.

Cityscapes' classes go about in three ways: 19 *train ids* (0 to 18, 255 is ignored), 34 *label ids* (0 to 33), and
colours. Label ids taken for train ids train without an error, and to a figure near zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from nightlab.data import cityscapes, label_map, reading
from nightlab.errors import InputError, enumerate_some

TRAIN_IDS, LABEL_IDS, COLORS = "train ids", "label ids", "colours"
IGNORED = cityscapes.IGNORE_LABEL
LAST_TRAIN_ID = len(cityscapes.CLASSES) - 1
LAST_LABEL_ID = max(cityscapes.LABEL_IDS_TO_TRAIN_IDS)
# A map in label ids without one of 19 to 33 (no plant, sky, person, vehicle) exists, and is rare.
MOST_LOW_MAPS = 0.25


@dataclass(frozen=True)
class Seen:
    """What one label file holds: its raw ids, or None for a file of colours; and, of a palette file whose colours are
    Cityscapes', of two classes or more, the train ids that its colours say, by raw id."""

    ids: frozenset[int] | None
    by_color: Mapping[int, int] | None = None


def look(path: Path) -> Seen:
    """Reads one label file. Raises InputError as `reading.read_raw_label` for what is no label map at all."""
    kind = reading.label_kind(path)
    if kind == "color":
        reading.read_color_label(path)
        return Seen(None)
    ids, first = np.unique(reading.read_raw_label(path), return_index=True)
    by_color = None
    if kind == "palette":
        try:
            said = to_train_ids(path, COLORS).flat[first].tolist()
        except InputError:
            return Seen(frozenset(ids.tolist()))
        if len(set(said) - {IGNORED}) > 1:
            by_color = dict(zip(ids.tolist(), said, strict=True))
    return Seen(frozenset(ids.tolist()), by_color)


def decide(seen: Mapping[Path, Seen]) -> tuple[str, str]:
    """The id space of a split's label files, and a remark for its user ("" where there is nothing to say).

    Raises:
        InputError: files in different spaces, or ids of none of the three.
    """
    space, remark = _by_ids(seen)
    if space == COLORS:
        return space, remark
    told = {path: s.by_color for path, s in seen.items() if s.by_color is not None}
    table = _table(space)
    other = [path for path, said in told.items() if any(table[i] != train_id for i, train_id in said.items())]
    if not other:
        return space, remark
    if len(told) < len(seen):
        plain = next(path for path in seen if path not in told)
        raise InputError(
            f"{other[0]}: its palette's colours are Cityscapes' and its numbers are not, and {plain.name} has no such "
            "palette; the folder mixes two kinds of label maps: keep one"
        )
    return (
        COLORS,
        "label maps are palettes of Cityscapes' colours with numbers of their own: read by their colours",
    )


def _by_ids(seen: Mapping[Path, Seen]) -> tuple[str, str]:
    """As `decide`, but that palettes' colours are not looked at where their numbers could be ids."""
    colored = [path for path, s in seen.items() if s.ids is None]
    if colored:
        plain = [path for path in seen if path not in set(colored)]
        if plain:
            raise InputError(
                f"{colored[0].parent}: {len(colored)} label maps are colours ({colored[0].name}) and {len(plain)} are "
                f"ids ({plain[0].name}); keep one kind"
            )
        return COLORS, ""
    maxima = {path: max(s.ids - {IGNORED}, default=0) for path, s in seen.items() if s.ids is not None}
    top = max(maxima.values(), default=0)
    if top > LAST_LABEL_ID:
        return _palette_or_refuse(maxima)
    low = [path for path, largest in maxima.items() if largest <= LAST_TRAIN_ID]
    if top <= LAST_TRAIN_ID:
        return _low_ids(seen)
    # Label ids never are 255, unless a set has it for what is ignored: then maps that surely hold label ids show it.
    ignores = {path for path, s in seen.items() if s.ids is not None and IGNORED in s.ids}
    strange = [path for path in low if path in ignores] if ignores <= set(low) else []
    if strange or len(low) > MOST_LOW_MAPS * len(maxima):
        low = low if len(low) > MOST_LOW_MAPS * len(maxima) else strange
        high = next(path for path in maxima if maxima[path] > LAST_TRAIN_ID)
        raise InputError(
            f"{high.parent}: {len(low)} of {len(maxima)} label maps look like train ids (0 to 18, as {low[0]}), the "
            f"others are label ids (0 to 33, as {high}); the folder mixes two downloads: extract each to its own"
        )
    named = [path for path in seen if "trainid" in path.name.lower()]
    return LABEL_IDS, f"label maps are named train ids, as {named[0].name}, and hold label ids" if named else ""


def _low_ids(seen: Mapping[Path, Seen]) -> tuple[str, str]:
    """No id is beyond 18: train ids, but for a few maps that say label ids in their names and do not use 255."""
    named = [path for path in seen if path.stem.lower().endswith("labelids")]
    if not named:
        return TRAIN_IDS, ""
    if any(IGNORED in s.ids for s in seen.values() if s.ids is not None):
        named_so = f"label maps are named label ids, as {named[0].name}"
        return TRAIN_IDS, f"{named_so}, and hold train ids (none is beyond 18, 255 is used)"
    return LABEL_IDS, (
        "label maps hold no id beyond 18, so that train ids and label ids cannot be told apart: the names decided"
    )


def _palette_or_refuse(maxima: Mapping[Path, int]) -> tuple[str, str]:
    """Ids beyond 33: a palette's own numbers where its colours are Cityscapes', else an unknown convention."""
    beyond = [path for path, largest in maxima.items() if largest > LAST_LABEL_ID]
    try:
        to_train_ids(beyond[0], COLORS)
    except InputError:
        raise InputError(
            f"{beyond[0]}: holds id {maxima[beyond[0]]}, and neither train ids (0 to 18, 255) nor label ids (0 to 33) "
            f"go that far ({len(beyond)} such files); these may be instance ids or another set's classes: give the "
            "semantic label maps, or write a card with a label_map (docs/cards.md)"
        ) from None
    return COLORS, "label maps are palette files with numbers of their own: read by their colours"


def to_train_ids(path: Path, space: str) -> np.ndarray:
    """A label file as train ids, uint8 [H, W], 255 where it is ignored. Raises InputError that names the file."""
    if space == COLORS:
        return _colors().map(reading.read_color_label(path), str(path))
    return label_map.map_indices(reading.read_raw_label(path), _table(space), str(path))


@lru_cache
def _table(space: str) -> np.ndarray:
    ids = cityscapes.LABEL_IDS_TO_TRAIN_IDS if space == LABEL_IDS else {i: i for i in range(LAST_TRAIN_ID + 1)}
    return label_map.index_table(ids, [IGNORED], IGNORED)


@lru_cache
def _colors() -> label_map.ColorTable:
    return label_map.ColorTable(cityscapes.COLORS, cityscapes.UNTRAINED_COLORS, IGNORED)


def describe(seen: Mapping[Path, Seen]) -> str:
    """The ids that occur, for a report."""
    ids = sorted({i for s in seen.values() if s.ids is not None for i in s.ids})
    starts = [i for i in ids if i - 1 not in ids]
    ends = [i for i in ids if i + 1 not in ids]
    runs = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, ends, strict=True)]
    return f"ids {enumerate_some(runs, 40)}" if ids else "colours"
