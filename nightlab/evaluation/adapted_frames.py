"""Writes what light adaptation makes of a data set as a folder of images, which a card can name as its own."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nightlab.data.paths import stays_below
from nightlab.errors import InputError
from nightlab.evaluation.pictures import write_image
from nightlab.files import named_if_unwritable


def frame_paths(records: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Where the adapted frame of each record goes, `folder/<image id>.png`, so that lists of ids serve for both.

    Raises:
        InputError: an id leads out of the folder, or an image or a label map of the records would be overwritten.
    """
    own = {os.path.realpath(r[key]) for r in records for key in ("file_name", "sem_seg_file_name") if key in r}
    paths = []
    for record in records:
        image_id = record["image_id"]
        path = folder / f"{image_id}.png"
        if not stays_below(image_id):
            raise InputError(f"{record['file_name']}: its id {image_id!r} leads out of {folder}; give it another id")
        if os.path.realpath(path) in own:
            raise InputError(f"{path}: is a file of the data set itself; name another folder for --write")
        paths.append(path)
    return paths


def write_frame(path: Path, frame: np.ndarray) -> None:
    """Writes a frame uint8 `[H, W, 3]`, RGB, as PNG. Raises InputError where it cannot be written."""
    with named_if_unwritable(path, "name another folder for --write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, frame)
