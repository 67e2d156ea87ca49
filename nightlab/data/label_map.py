"""Turns raw label ids or label colours into class ids with one table look-up per pixel, or names what has no class."""

from collections.abc import Mapping, Sequence

import numpy as np

from nightlab.errors import InputError, enumerate_some

UNMAPPED = -1
RAW_IDS = 1 << 16


def index_table(label_map: Mapping[int, int], ignore_ids: Sequence[int], ignore_label: int) -> np.ndarray:
    """int16 [65536]: the class id, `ignore_label` or `UNMAPPED` of every raw id; `label_map` has the last word."""
    table = np.full(RAW_IDS, UNMAPPED, np.int16)
    table[list(ignore_ids)] = ignore_label
    table[list(label_map.keys())] = list(label_map.values())
    return table


def map_indices(raw: np.ndarray, table: np.ndarray, where: str) -> np.ndarray:
    """Maps raw ids, uint8 or uint16 [H, W], to class ids, uint8 [H, W], through `index_table`.

    Raises:
        InputError: a raw id has no class; `where` names the label file, the message every such id and its pixels.
    """
    mapped = np.take(table, raw)
    if mapped.min(initial=0) < 0:
        ids, counts = np.unique(raw[mapped == UNMAPPED], return_counts=True)
        listed = [f"{i} ({n} px)" for i, n in zip(ids.tolist(), counts.tolist(), strict=True)]
        look_like_label_ids = set(ids.tolist()) <= set(range(19, 34)) and len(table[table >= 0]) == 20
        hint = "these look like Cityscapes' label ids: write label_map: cityscapes_label_ids, or "
        raise InputError(
            f"{where}: no class for raw id{_several(listed)} {enumerate_some(listed)}; "
            f"{hint if look_like_label_ids else ''}add each to label_map or to ignore_ids of the card"
        )
    return mapped.astype(np.uint8)


class ColorTable:
    """Looks up the class of an RGB colour.

    Args:
        colors: one colour for each class, in the order of the classes.
        ignore_colors: colours that map to `ignore_label`.
    """

    def __init__(
        self, colors: Sequence[Sequence[int]], ignore_colors: Sequence[Sequence[int]], ignore_label: int
    ) -> None:
        # One entry for each of the 2^24 colours, 0 for unknown; pages that stay zero take no memory.
        self._class_plus_one = np.zeros(1 << 24, np.int16)
        self._class_plus_one[_pack(np.array(colors, np.uint8).reshape(-1, 3))] = np.arange(1, len(colors) + 1)
        self._class_plus_one[_pack(np.array(ignore_colors, np.uint8).reshape(-1, 3))] = ignore_label + 1

    def map(self, rgb: np.ndarray, where: str) -> np.ndarray:
        """Maps uint8 [H, W, 3] to class ids, uint8 [H, W].

        Raises:
            InputError: a colour has no class; `where` names the label file, the message every such colour.
        """
        packed = _pack(rgb)
        mapped = np.take(self._class_plus_one, packed)
        unknown = mapped == 0
        if unknown.any():
            codes, counts = np.unique(packed[unknown], return_counts=True)
            order = np.argsort(-counts, kind="stable")
            listed = [
                f"{(c >> 16, c >> 8 & 255, c & 255)} ({n} px)"
                for c, n in zip(codes[order].tolist(), counts[order].tolist(), strict=True)
            ]
            raise InputError(
                f"{where}: no class for colour{_several(listed)} {enumerate_some(listed)}; "
                "add each to colors or to ignore_colors of the card"
            )
        return (mapped - 1).astype(np.uint8)


def _pack(rgb: np.ndarray) -> np.ndarray:
    packed = rgb[..., 0].astype(np.int32) << 16
    packed |= rgb[..., 1].astype(np.int32) << 8
    packed |= rgb[..., 2]
    return packed


def _several(listed: Sequence[str]) -> str:
    return "s" if len(listed) > 1 else ""
