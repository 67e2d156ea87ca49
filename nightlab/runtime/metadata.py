"""What an exported model tells about itself: checked before it is believed, since anybody can write such a file."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nightlab.errors import CONTROL, InputError
from nightlab.picture_limits import MAX_FRAME_PIXELS

# Where a file carries what is not in its graph, as JSON.
METADATA_KEY = "nightlab"
# Labels are bytes, and 255 is no class.
MAX_CLASSES = 255
MAX_REGIONS = 10_000


def read_metadata(path: str | Path, told: str | None) -> dict[str, Any]:
    """All that a file says under `METADATA_KEY`; its size, classes, colours and number of regions are usable.

    Raises:
        InputError: it says nothing, no JSON, or something else there.
    """
    if told is None:
        raise InputError(f"{path}: not a model of NightLab's; make one with tools/export.py")
    try:
        metadata = json.loads(told)
    except (ValueError, RecursionError):
        metadata = None
    if not isinstance(metadata, dict):
        raise InputError(f"{path}: what it tells about itself is no JSON object; export it again")
    size, classes, colors = (metadata.get(key) for key in ("size", "classes", "colors"))
    classes = classes if isinstance(classes, list) else []
    are_named = 0 < len(classes) <= MAX_CLASSES and all(map(_is_name, classes))
    right = {
        "size": _are_integers(size, 2, 1, 1 << 16) and math.prod(size or ()) <= MAX_FRAME_PIXELS,
        "classes": are_named,
        "colors": are_named
        and isinstance(colors, list)
        and len(colors) == len(classes)
        and all(_are_integers(color, 3, 0, 255) for color in colors),
        "max_regions": _are_integers([metadata.get("max_regions", 0)], 1, 0, MAX_REGIONS),
    }
    if wrong := [key for key, is_right in right.items() if not is_right]:
        raise InputError(f"{path}: what it tells of its {', '.join(wrong)} cannot be; export it again")
    return metadata


def check_interface(path: str | Path, size: Sequence[int], session: Any) -> None:
    """Checks that a session takes frames of `size` (height, width) and gives label maps of it, as exported models do.

    Raises:
        InputError: it does not.
    """
    try:
        taken = {entry.name: (entry.type, entry.shape) for entry in session.get_inputs()}
        given = {entry.name: entry.type for entry in session.get_outputs()}
    except UnicodeDecodeError:
        raise InputError(f"{path}: its names are no text; export it again") from None
    if taken != {"frame": ("tensor(uint8)", [*size, 3])} or given.get("labels") != "tensor(uint8)":
        raise InputError(f"{path}: takes or gives something else than frames and labels of its size; export it again")
    if given.get("confidence") != "tensor(float)" or ("boxes" in given) > ({"real", "scores"} <= given.keys()):
        raise InputError(f"{path}: gives no confidence, or regions without their scores; export it again")


def _are_integers(values: Any, number: int, low: int, high: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == number
        and all(type(value) is int and low <= value <= high for value in values)
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and not CONTROL.search(value)
