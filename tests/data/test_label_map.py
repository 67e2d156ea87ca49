"""Label tables: every raw id and colour has a class, is ignored, or is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.data.label_map import ColorTable, index_table, map_indices
from nightlab.errors import InputError


def test_hand_worked_indices() -> None:
    table = index_table({7: 0, 8: 1, 300: 1}, ignore_ids=[255], ignore_label=255)
    raw = np.array([[7, 8], [300, 255]], np.uint16)
    mapped = map_indices(raw, table, "a.png")
    assert mapped.dtype == np.uint8
    np.testing.assert_array_equal(mapped, [[0, 1], [1, 255]])


def test_unmapped_ids_are_counted() -> None:
    table = index_table({0: 0, 1: 1}, ignore_ids=[255], ignore_label=255)
    with pytest.raises(
        InputError, match=r"^a.png: no class for raw ids 2 \(1 px\), 9 \(3 px\); .*label_map.*ignore_ids"
    ):
        map_indices(np.array([[0, 2, 9], [9, 9, 1]], np.uint8), table, "a.png")


def test_many_unmapped_ids_are_shortened() -> None:
    with pytest.raises(InputError, match=r"and 10 more"):
        map_indices(np.arange(20, dtype=np.uint8)[None], index_table({}, [], 255), "a.png")


@given(st.dictionaries(st.integers(0, 65535), st.integers(0, 18), min_size=1, max_size=30), st.integers(0, 2**32 - 1))
def test_table_equals_a_loop(label_map: dict[int, int], seed: int) -> None:
    raw = np.random.default_rng(seed).choice(list(label_map), (5, 7)).astype(np.uint16)
    expected = [[label_map[int(i)] for i in row] for row in raw]
    np.testing.assert_array_equal(map_indices(raw, index_table(label_map, [], 255), "a.png"), expected)


def test_hand_worked_colors() -> None:
    table = ColorTable([(255, 0, 0), (0, 255, 0), (0, 0, 255)], [(0, 0, 0)], 255)
    rgb = np.array([[[0, 0, 255], [0, 0, 0]], [[255, 0, 0], [0, 255, 0]]], np.uint8)
    np.testing.assert_array_equal(table.map(rgb, "a.png"), [[2, 255], [0, 1]])


@pytest.mark.parametrize("color", [(0, 0, 1), (255, 255, 255), (128, 64, 127)])
def test_unknown_colors_are_named(color: tuple[int, int, int]) -> None:
    table = ColorTable([(128, 64, 128), (0, 255, 0)], [(0, 0, 0)], 255)
    rgb = np.zeros((3, 4, 3), np.uint8)
    rgb[1, 2] = color
    with pytest.raises(InputError) as caught:
        table.map(rgb, "a.png")
    assert f"a.png: no class for colour {color} (1 px)" in str(caught.value)


def test_empty_labels_stay_empty() -> None:
    assert map_indices(np.zeros((0, 4), np.uint8), index_table({0: 0}, [], 255), "a.png").shape == (0, 4)
