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
