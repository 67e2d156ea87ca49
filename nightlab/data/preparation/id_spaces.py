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
    """What one label file holds: its raw ids, or None for a file of colours."""

    ids: frozenset[int] | None


def look(path: Path) -> Seen:
    """Reads one label file. Raises InputError as `reading.read_raw_label` for what is no label map at all."""
    if reading.is_color(path):
        reading.read_color_label(path)
        return Seen(None)
    return Seen(frozenset(np.unique(reading.read_raw_label(path)).tolist()))


def decide(seen: Mapping[Path, Seen]) -> tuple[str, str]:
    """The id space of a split's label files, and a remark for its user ("" where there is nothing to say).

    Raises:
        InputError: files in different spaces, or ids of none of the three.
    """
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
    if len(low) > MOST_LOW_MAPS * len(maxima):
        high = next(path for path in maxima if maxima[path] > LAST_TRAIN_ID)
        raise InputError(
            f"{high.parent}: {len(low)} of {len(maxima)} label maps look like train ids (0 to 18, as {low[0]}), the "
            f"others are label ids (0 to 33, as {high}); the folder mixes two downloads: extract each to its own"
        )
    named = [path for path in seen if "trainid" in path.name.lower()]
    return LABEL_IDS, f"named train ids, as {named[0].name}, and hold label ids" if named else ""


def _low_ids(seen: Mapping[Path, Seen]) -> tuple[str, str]:
    """No id is beyond 18: train ids, but for a few maps that say label ids in their names and do not use 255."""
    named = [path for path in seen if path.stem.lower().endswith("labelids")]
    if not named:
        return TRAIN_IDS, ""
    if any(IGNORED in s.ids for s in seen.values() if s.ids is not None):
        return TRAIN_IDS, f"named label ids, as {named[0].name}, and hold train ids (none is beyond 18, 255 is used)"
    return LABEL_IDS, "no id beyond 18 occurs, so that train ids and label ids cannot be told apart: the names decided"


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
    return COLORS, "palette files with numbers of their own: read by their colours"


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
