"""Keeps NightCity's own labels from passing for NightCity+, whose files have the same names."""

import filecmp
from functools import partial
from pathlib import Path

import numpy as np

from nightlab.data import reading
from nightlab.data.preparation import id_spaces
from nightlab.data.preparation.layouts import Download
from nightlab.errors import InputError


def refuse_old_labels(relabelled: Download, original: Download | None, prepared: Path) -> None:
    """Compares label maps of the same id until two differ, which of labels made anew are among the first.

    Args:
        original: NightCity as it came. Without it, the label maps below `prepared` serve, which an earlier call made of
            it; where there are none either, nothing can be compared.

    Raises:
        InputError: all that both have are the same.
    """
    same = partial(filecmp.cmp, shallow=False) if original else _is_made_of
    old = original.labels if original else {f"val/{p.stem}": p for p in sorted(prepared.glob("val/*.png"))}
    shared = sorted(relabelled.labels.keys() & old.keys())
    if shared and all(same(old[i], relabelled.labels[i]) for i in shared):
        raise InputError(
            f"{relabelled.root}: its {len(shared)} label maps are those of NightCity itself, as "
            f"{relabelled.labels[shared[0]]}; name the folder of NightCity+, which has other labels of the same images"
        )


def _is_made_of(prepared: Path, path: Path) -> bool:
    """Whether a label map in train ids says what another one says in whichever ids."""
    wanted = reading.read_raw_label(prepared)
    for space in (id_spaces.LABEL_IDS, id_spaces.TRAIN_IDS, id_spaces.COLORS):
        try:
            if np.array_equal(id_spaces.to_train_ids(path, space), wanted):
                return True
        except InputError:
            continue  # not in these ids, or damaged: the preparation tells of it
    return False
