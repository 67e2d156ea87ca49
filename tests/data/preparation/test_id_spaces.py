"""Which id space label maps are in, told from the ids that occur: every hole that users fell into."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nightlab.data import cityscapes, label_map
from nightlab.data.preparation.id_spaces import COLORS, LABEL_IDS, TRAIN_IDS, Seen, decide, look, to_train_ids
from nightlab.errors import InputError

from . import trees


def seen(**files: set[int] | None) -> dict[Path, Seen]:
    return {Path(f"{name}.png"): Seen(None if ids is None else frozenset(ids)) for name, ids in files.items()}


@pytest.mark.parametrize(
    ("files", "space", "remark"),
    [
        ({"a": {0, 2, 255}, "b": {13}}, TRAIN_IDS, ""),
        ({"a": {7, 11, 26}, "b": {0, 23}}, LABEL_IDS, ""),
        ({"a": {7, 26, 255}, "b": {0, 23}}, LABEL_IDS, ""),
        ({"a": {7, 26, 255}, "b": {0, 23}, "c": {24}, "d": {25}, "e": {0, 7, 255}}, LABEL_IDS, ""),
        ({"a": None, "b": None}, COLORS, ""),
        ({"a_trainIds": {7, 26}}, LABEL_IDS, "named train ids"),
        ({"a_labelIds": {0, 13, 255}}, TRAIN_IDS, "named label ids"),
        ({"a_labelIds": {7, 11}}, LABEL_IDS, "the names decided"),
    ],
)
def test_spaces(files: dict[str, set[int] | None], space: str, remark: str) -> None:
    found, said = decide(seen(**files))
    assert found == space
    assert remark in said and bool(remark) == bool(said)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": {7, 26}, "b": {0, 13, 255}, "c": {1, 2}}, "2 of 3 label maps look like train ids"),
        ({"a": {7, 26}, "b": None}, "1 label maps are colours .* and 1 are ids"),
        (
            {"a": {7, 26}, "b": {7, 23}, "c": {8, 33}, "d": {21}, "e": {0, 13, 255}},
            "1 of 5 label maps look like train ids .*as e.png",
        ),
    ],
)
def test_mixtures_are_refused(files: dict[str, set[int] | None], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decide(seen(**files))


def test_instance_ids_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 26001, np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"holds id 26001, and neither train ids .* may be instance ids"):
        decide({tmp_path / "a.png": look(tmp_path / "a.png")})


def test_a_palette_is_read_by_its_numbers_or_else_by_its_colours(tmp_path: Path) -> None:
    palette = [0] * 768
    numbers = np.array([40, 41, 42, 43, 44, 45], np.uint8)
    for number, color in zip(numbers, trees.COLORS, strict=True):
        palette[3 * number : 3 * number + 3] = color.tolist()
    path = tmp_path / "a.png"
    for values in (trees.LABEL_IDS, numbers):
        file = Image.fromarray(trees.stripes(values))
        file.putpalette(palette)
        file.save(path)
        space, _ = decide({path: look(path)})
        assert space == (LABEL_IDS if values is trees.LABEL_IDS else COLORS)
        assert (to_train_ids(path, space) == trees.stripes(trees.TRAIN_IDS)).all()


def test_raw_label_ids_under_a_card_of_train_ids_say_so() -> None:
    table = label_map.index_table({i: i for i in range(len(cityscapes.CLASSES))}, [255], 255)
    with pytest.raises(InputError, match="look like Cityscapes' label ids: write label_map: cityscapes_label_ids"):
        label_map.map_indices(np.array([[7, 21, 26]], np.uint8), table, "a.png")
    with pytest.raises(InputError) as caught:
        label_map.map_indices(np.array([[7, 40]], np.uint8), table, "a.png")
    assert "label ids" not in str(caught.value)


def test_a_palette_of_low_numbers_is_read_by_its_colours_where_they_say_something_else(tmp_path: Path) -> None:
    """As an optimiser of PNGs makes of a file of colours: numbers from 0 on, which could be ids."""

    def saved(name: str, numbers: np.ndarray, colors: np.ndarray) -> Path:
        image = Image.fromarray(trees.stripes(numbers), "P")
        palette = np.zeros((256, 3), np.uint8)
        palette[numbers] = colors
        image.putpalette(palette.flatten().tolist())
        image.save(tmp_path / name)
        return tmp_path / name

    compact = saved("a.png", np.arange(6, dtype=np.uint8), trees.COLORS)
    found = {compact: look(compact)}
    space, said = decide(found)
    assert space == COLORS and "read by their colours" in said
    assert (to_train_ids(compact, space) == trees.stripes(trees.TRAIN_IDS)).all()
    for numbers, name in ((trees.TRAIN_IDS, TRAIN_IDS), (trees.LABEL_IDS, LABEL_IDS)):
        usual = saved("b.png", numbers, trees.COLORS)
        assert decide({usual: look(usual)}) == (name, ""), "a palette for the eye, of numbers that are ids"
    other = saved("c.png", np.arange(6, dtype=np.uint8), np.full((6, 3), 77, np.uint8))
    assert decide({other: look(other)}) == (TRAIN_IDS, ""), "other colours say nothing"
    plain = tmp_path / "d.png"
    trees.label(plain)
    with pytest.raises(InputError, match=r"a\.png: its palette's colours are Cityscapes' .* mixes two kinds"):
        decide({**found, plain: look(plain)})
