"""Which images the levels of a checkpoint were fitted to: on those their gain says little of how they do elsewhere."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from nightlab.data.paths import datasets_root
from nightlab.errors import InputError

logger = logging.getLogger(__name__)

# Their name in a checkpoint.
FITTED = "fitted"


class FittedTo:
    """Images that some level was fitted to, kept in its checkpoints as eight bytes each: of a hash of the file's path
    below the folder of all data sets, so that a checkpoint knows them on another machine, too."""

    def __init__(self) -> None:
        self._keys: set[int] = set()

    def add(self, records: Iterable[dict[str, Any]]) -> None:
        self._keys.update(key for key, _ in _keyed(records))

    def among(self, records: Iterable[dict[str, Any]]) -> list[str]:
        """The file names of those records that are of such images."""
        return [name for key, name in _keyed(records) if key in self._keys]

    def state_dict(self) -> dict[str, Tensor]:
        return {"images": torch.tensor(sorted(self._keys), dtype=torch.int64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        images = state.get("images") if isinstance(state, dict) else None
        if not isinstance(images, Tensor) or images.dtype != torch.int64:
            raise InputError(f"'{FITTED}' of the checkpoint holds no hashes of images; was it written by NightLab?")
        self._keys = set(images.flatten().tolist())


def _keyed(records: Iterable[dict[str, Any]]) -> Iterator[tuple[int, str]]:
    """Hash and file name of each record."""
    root = os.path.join(os.path.abspath(datasets_root()), "")
    for name in (record["file_name"] for record in records):
        below = os.path.abspath(name).removeprefix(root)
        yield int.from_bytes(blake2b(below.encode(), digest_size=8).digest(), "big", signed=True), name


def check_unfitted(fitted: FittedTo, held_out: Sequence[dict[str, Any]]) -> None:
    """Raises InputError where a level was fitted to held-out images, a part of which HDM learns gain on."""
    seen = fitted.among(held_out)
    if seen:
        raise InputError(
            f"DATASETS.VAL: HDM learns gain on images that no level was fitted to, and {len(seen)} of {len(held_out)} "
            f"held-out ones, as {seen[0]}, are among those that the image or the region level was trained on; set "
            "SEED, DATASETS.TRAIN, VAL and VAL_FRACTION as they were then, or train these levels again"
        )


def warn_of_fitted(fitted: FittedTo, held_out: Sequence[dict[str, Any]]) -> None:
    """Says in the log where what training goes on from was fitted to held-out images, as it was where a data set has
    changed since the run began, and another share of it is held out."""
    if seen := fitted.among(held_out):
        logger.warning(
            "%d of %d held-out images, as %s, are among those that these weights were trained on, which flatters hard "
            "classes, the best checkpoint and figures in training. Have the data sets changed since? DATASETS.VAL "
            "names held-out images that stay the same",
            len(seen),
            len(held_out),
            seen[0],
        )
