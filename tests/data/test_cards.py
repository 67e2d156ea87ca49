"""Cards: the schema accepts what docs/cards.md says, refuses the rest in one line, and a card reads its data set."""

import os
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from nightlab.data import cityscapes
from nightlab.data.card_schema import load_card, parse_card
from nightlab.data.cards import Card
from nightlab.errors import InputError

REPOSITORY = Path(__file__).parents[2]
MINIMAL: dict[str, Any] = {
    "name": "tiny",
    "images": "images/{id}.png",
    "labels": "labels/{id}.png",
    "splits": {"train": "train.txt"},
    "classes": ["road", "car", "lamp"],
}


def card(**changes: Any) -> Card:
    return parse_card(MINIMAL | changes, Path("tiny.yaml"))


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set `tiny` of two 3x2 images, whose labels hold raw ids 0, 1, 2 and 255."""
    root = tmp_path / "tiny"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b"):
        Image.new("RGB", (3, 2), "navy").save(root / "images" / f"{name}.png")
        Image.fromarray(np.array([[0, 1, 2], [2, 255, 0]], np.uint8)).save(root / "labels" / f"{name}.png")
    (root / "train.txt").write_text("\ufeff# training\r\na\r\n\r\n  b  \r\n", encoding="utf-8")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return root


def test_defaults() -> None:
    made = card()
    assert (made.root, made.splits, made.ignore_label) == ("tiny", ("train",), 255)
    assert made.raw_to_class == ((0, 0), (1, 1), (2, 2))
    assert made.ignore_ids == (255,)
    assert made.colors[:2] == (cityscapes.COLORS[0], cityscapes.COLORS[13])
    assert len(set(made.colors)) == 3


def test_default_colors_are_distinct() -> None:
    colors = card(classes=[f"class {n}" for n in range(60)]).colors
    assert len(set(colors)) == 60


def test_label_map_by_name_and_number() -> None:
    made = card(label_map={4: "car", 5: 0, 6: "car", 9: 255}, ignore_ids=[0, 255])
    assert made.raw_to_class == ((4, 1), (5, 0), (6, 1), (9, 255))


def test_cityscapes_label_ids() -> None:
    made = card(classes="cityscapes", label_map="cityscapes_label_ids")
    table = dict(made.raw_to_class)
    assert made.classes == cityscapes.CLASSES
    assert len(table) == 34
    assert (table[7], table[17], table[24], table[33], table[0], table[29]) == (0, 5, 11, 18, 255, 255)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lable_map": {}}, "unknown key 'lable_map'; did you mean 'label_map'?"),
        ({"name": None}, "the key 'name' is missing"),
        ({"name": "a b"}, "name has 'a b'"),
        ({"name": 7}, "put it in quotes"),
        ({"root": "../elsewhere"}, "allow_outside"),
        ({"root": "/data"}, "allow_outside"),
        ({"root": "~/data"}, "allow_outside"),
        ({"images": "images/x.png"}, "{id}"),
        ({"images": "images/{name}/{id}.png"}, "only placeholder"),
        ({"labels": "../{id}.png"}, "allow_outside"),
        ({"splits": {}}, "name at least one"),
        ({"splits": "train.txt"}, "maps names"),
        ({"splits": {"train": "../train.txt"}}, "allow_outside"),
        ({"splits": {"train": {"globe": "*"}}}, "did you mean 'glob'?"),
        ({"splits": {"train": 7}}, "{ids: [...]}"),
        ({"splits": {"train": "t.txt", "all": ["trian"]}}, "did you mean 'train'?"),
        ({"splits": {"train": "t.txt", "all": ["train"], "more": ["all"]}}, "use train"),
        ({"splits": {"train": {"ids": []}}}, "at least one id"),
        ({"splits": {"train": {"ids": [1]}}}, "put it in quotes"),
        ({"splits": {"train": {"ids": ["a", "a"]}}}, "'a' twice"),
        ({"splits": {True: "train.txt"}}, "put it in quotes"),
        ({"classes": "cityscape"}, "write 'cityscapes'"),
        ({"classes": ["road"]}, "2 to 254"),
        ({"classes": ["road", "road"]}, "'road' twice"),
        ({"classes": ["road", False]}, "put it in quotes"),
        ({"classes": ["road", " "]}, "blank"),
        ({"colors": [[0, 0, 0]]}, "each of the 3 classes"),
        ({"colors": [[0, 0, 0], [1, 1], [2, 2, 2]]}, "[red, green, blue]"),
        ({"colors": [[0, 0, 0], [1, 1, 1], [2, 2, 256]]}, "0 to 255"),
        ({"label_map": "identiy"}, "did you mean 'identity'?"),
        ({"label_map": []}, "map each raw id"),
        ({"label_map": {"7": "road"}}, "left side"),
        ({"label_map": {70000: "road"}}, "0 to 65535"),
        ({"label_map": {7: "raod"}}, "did you mean 'road'?"),
        ({"label_map": {7: 3}}, "0 to 2"),
        ({"label_map": {7: True}}, "0 to 2"),
        ({"label_map": "cityscapes_label_ids"}, "classes: cityscapes"),
        ({"ignore_ids": 255}, "[255]"),
        ({"ignore_ids": [1]}, "stands in ignore_ids and has a class"),
        ({"ignore_label": 2}, "from 3 to 255"),
        ({"ignore_colors": [[0, 0, 0]]}, "label_encoding: color"),
        ({"label_encoding": "colour"}, "did you mean 'color'?"),
        ({"label_encoding": "color"}, "needs colors"),
        ({"label_encoding": "color", "label_map": {0: 0}}, "ignore_colors"),
        ({"label_encoding": "color", "colors": [[1, 1, 1]] * 3}, "twice"),
        (
            {"label_encoding": "color", "colors": [[1, 1, 1], [2, 2, 2], [3, 3, 3]], "ignore_colors": [[1, 1, 1]]},
            "twice",
        ),
        ({"allow_outside": "yes please"}, "true or false"),
        ({"description": 3}, "put it in quotes"),
    ],
)
def test_schema_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        card(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("tiny.yaml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "not a plain YAML card"),
        ("- a\n- b", "a card is a mapping"),
        ("", "a card is a mapping"),
        ("name: a\nname: b", "'name' is given twice"),
        ("name: !!python/object/apply:os.system ['true']", "not a plain YAML card"),
        ("label_map: {1: road, 1: car}", "'1' is given twice"),
        ("? [a]\n: b", "not a plain YAML card"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_card(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absent_card_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: no such card"):
        load_card(tmp_path / "none.yaml")


def test_records_and_arrays(tree: Path) -> None:
    made = card()
    records = made.records("train")
    assert [record["image_id"] for record in records] == ["a", "b"]
    assert records[0]["file_name"] == str(tree / "images" / "a.png")
    assert records[0]["source"] is made
    assert made.read_image(records[0]).tolist() == [[[0, 0, 128]] * 3] * 2
    label = made.read_label(records[0])
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, [[0, 1, 2], [2, 255, 0]])


def test_records_travel_between_processes(tree: Path) -> None:
    record = pickle.loads(pickle.dumps(card().records("train")[1]))
    assert record["source"] == card()
    np.testing.assert_array_equal(record["source"].read_label(record), [[0, 1, 2], [2, 255, 0]])


def test_label_map_is_applied(tree: Path) -> None:
    made = card(label_map={0: "lamp", 1: "lamp", 2: 0}, ignore_ids=[255], ignore_label=100)
    np.testing.assert_array_equal(made.read_label(made.records("train")[0]), [[2, 2, 0], [0, 100, 2]])


def test_raw_ids_outside_the_map_name_file_and_remedy(tree: Path) -> None:
    made = card(label_map={0: 0, 1: 1}, ignore_ids=[])
    with pytest.raises(
        InputError, match=r"a\.png: no class for raw ids 2 \(2 px\), 255 \(1 px\); add each to label_map"
    ):
        made.read_label(made.records("train")[0])


def test_color_coded_labels(tree: Path) -> None:
    colors = np.array([[[1, 1, 1], [2, 2, 2], [3, 3, 3]], [[3, 3, 3], [0, 0, 0], [1, 1, 1]]], np.uint8)
    Image.fromarray(colors).save(tree / "labels" / "a.png")
    made = card(label_encoding="color", colors=[[1, 1, 1], [2, 2, 2], [3, 3, 3]], ignore_colors=[[0, 0, 0]])
    np.testing.assert_array_equal(made.read_label(made.records("train")[0]), [[0, 1, 2], [2, 255, 0]])
    with pytest.raises(InputError, match="label_encoding: color"):
        card().read_label(card().records("train")[0])


def test_glob_and_ids(tree: Path) -> None:
    (tree / "images" / ".hidden.png").touch()
    made = card(splits={"all": {"glob": "images/*.png"}, "one": {"ids": ["b"]}})
    assert made.ids("all") == ["a", "b"]
    assert made.ids("one") == ["b"]


def test_a_split_may_join_others(tree: Path) -> None:
    parts = {"one": {"ids": ["b"]}, "other": {"ids": ["a"]}, "same": {"ids": ["a"]}}
    made = card(splits={**parts, "both": ["one", "other"], "clash": ["other", "same"]})
    assert made.ids("both") == ["b", "a"]
    with pytest.raises(InputError, match="share a"):
        made.ids("clash")


def test_ids_may_hold_folders(tree: Path) -> None:
    for folder in ("images", "labels"):
        (tree / folder / "train" / "x").mkdir(parents=True)
        (tree / folder / "a.png").rename(tree / folder / "train" / "x" / "a.png")
    made = card(splits={"train": {"glob": "images/train/*/*.png"}})
    record = made.records("train")[0]
    assert record["image_id"] == "train/x/a"
    assert made.read_label(record).shape == (2, 3)


def test_id_may_stand_twice_in_a_pattern(tree: Path) -> None:
    (tree / "images" / "c").mkdir()
    (tree / "images" / "c" / "c.png").touch()
    (tree / "images" / "c" / "d.png").touch()
    pattern = "images/{id}/{id}.png"
    assert card(images=pattern, splits={"c": {"glob": "images/*/c.png"}}).ids("c") == ["c"]
    with pytest.raises(InputError, match=r"do not fit the image pattern .*c/d\.png"):
        card(images=pattern, splits={"c": {"glob": "images/*/*.png"}}).ids("c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# nothing\n\n", "is empty"),
        (b"a\nb\na\n", "more than one line each for a"),
        ("a\n".encode("utf-16"), "UTF-8"),
        ("a\n".encode("utf-16-le"), "UTF-8"),
        (None, "no such file, the list of split 'train'; prepare the data set as datasets/README.md says"),
    ],
)
def test_faulty_lists(tree: Path, content: bytes | None, message: str) -> None:
    (tree / "train.txt").unlink()
    if content is not None:
        (tree / "train.txt").write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        card().records("train")
    assert str(tree / "train.txt") in str(caught.value)


def test_absent_split_folder_and_images(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no split 'tain', only train; did you mean 'train'"):
        card().records("tain")
    with pytest.raises(InputError, match="no file matches the glob"):
        card(splits={"train": {"glob": "images/*.jpg"}}).records("train")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tree / "nowhere"))
    with pytest.raises(InputError, match="set DETECTRON2_DATASETS"):
        card().records("train")


def test_images_without_labels(tree: Path) -> None:
    made = card(labels=None)
    record = made.records("train")[0]
    assert "sem_seg_file_name" not in record
    with pytest.raises(InputError, match="has no label"):
        made.read_label(record)


@pytest.mark.parametrize("escape", ["../../secret", "link", "out/secret"])
def test_nothing_outside_the_root_is_read(tree: Path, escape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = tree.parent / "elsewhere"
    outside.mkdir()
    for name in ("secret.png", "../secret.png"):
        Image.new("RGB", (3, 2)).save(outside / name)
    (tree / "images" / "link.png").symlink_to(outside / "secret.png")
    (tree / "images" / "out").symlink_to(outside)
    splits = {"train": {"ids": ["a", escape]}}
    with pytest.raises(InputError, match=r"outside the data set's root .*allow_outside: true"):
        card(splits=splits, labels=None).records("train")
    # The card may ask for it; what it gets is what the user names.
    asking = card(splits=splits, labels=None, allow_outside=True)
    with pytest.raises(InputError, match=r"outside the data set's root .*name the folder in NIGHTLAB_OUTSIDE"):
        asking.records("train")
    monkeypatch.setenv("NIGHTLAB_OUTSIDE", f"/nowhere{os.pathsep}{tree.parent}")
    with pytest.raises(InputError, match="outside the data set's root"):
        card(splits=splits, labels=None).records("train")
    assert card().read_image(asking.records("train")[1]).shape == (2, 3, 3)


def test_links_within_the_root_and_to_the_root_are_fine(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree / "images" / "c.png").symlink_to("a.png")
    (tree.parent / "other").mkdir()
    (tree.parent / "other" / "tiny").symlink_to(tree)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tree.parent / "other"))
    made = card(splits={"train": {"ids": ["c", "a"]}}, labels=None)
    assert [made.read_image(record).shape for record in made.records("train")] == [(2, 3, 3)] * 2


def test_absolute_roots_need_leave(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DETECTRON2_DATASETS")
    made = card(root=str(tree), allow_outside=True)
    with pytest.raises(InputError, match="NIGHTLAB_OUTSIDE"):
        made.records("train")
    monkeypatch.setenv("NIGHTLAB_OUTSIDE", str(tree.parent))
    assert len(made.records("train")) == 2


def test_a_root_within_the_data_is_no_way_out(tree: Path) -> None:
    (tree / "all").symlink_to(tree.parent.parent)
    with pytest.raises(InputError, match="outside the data set's root"):
        card(root="tiny/all", images="{id}", splits={"train": {"ids": ["a"]}}).records("train")
    with pytest.raises(InputError, match="outside the data set's root"):
        card(images="{id}", labels=None, splits={"train": {"ids": [".."]}}).records("train")


@pytest.mark.parametrize("target", ["/", "."])
def test_globs_follow_no_links_to_folders(tree: Path, target: str) -> None:
    """They could go through the whole disk, or round and round."""
    (tree / "images" / "sub").mkdir()
    (tree / "images" / "sub" / "on").symlink_to(target)
    splits = {"train": {"glob": "images/**/*.png"}}
    with pytest.raises(InputError, match=r"images/sub/on: a link to a folder, which \*\* in the glob"):
        card(splits=splits).records("train")
    with pytest.raises(InputError, match="outside the data set's root"):
        (tree / "out").symlink_to("/")
        card(splits={"train": {"glob": "out/**/*.png"}}).records("train")
    (tree / "images" / "sub" / "on").unlink()
    assert len(card(splits=splits).records("train")) == 2


def test_a_glob_goes_through_all_folders_once() -> None:
    with pytest.raises(InputError, match=r"write \*\* once"):
        card(splits={"train": {"glob": "**/**/*.png"}})


def test_orphan_labels(tree: Path) -> None:
    (tree / "images" / "b.png").unlink()
    made = card(splits={"all": {"glob": "images/*.png"}, "train": "train.txt"})
    assert made.orphan_labels("all") == [str(tree / "labels" / "b.png")]
    assert made.orphan_labels("train") == []


def test_the_documented_example_is_a_card() -> None:
    text = (REPOSITORY / "docs" / "cards.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    cards = [parse_card(example, Path("docs/cards.md")) for example in examples if "images" in example]
    assert len(cards) >= 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("camvid", {"train": 367, "val": 101, "test": 233, "train_dusk": 62, "test_dusk": 62}),
        (
            "camvid_drives",
            {"train_day": 305, "train_dusk": 62, "train": 367, "val": 101, "test": 233, "test_dusk": 62},
        ),
        (
            "bdd_micro",
            {
                "train_night": 233,
                "val_night": 27,
                "train_dark_mixed": 71,
                "val_dark_mixed": 17,
                "train_day": 1500,
                "val_day": 150,
                "train_dark": 304,
                "val_dark": 44,
            },
        ),
        ("bdd_photos", {"night_train": 70, "night_val": 30, "day_train": 70, "day_val": 30}),
    ],
)
def test_real_cards(real_data: Path, monkeypatch: pytest.MonkeyPatch, name: str, expected: dict[str, int]) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(real_data))
    made = load_card(REPOSITORY / "datasets" / "cards" / f"{name}.yaml")
    assert {split: len(made.records(split)) for split in made.splits} == expected
    for split in made.splits:
        record = made.records(split)[0]
        image, label = made.read_image(record), made.read_label(record)
        assert image.shape[:2] == label.shape
        assert set(np.unique(label)) <= {*range(len(made.classes)), made.ignore_label}


def test_camvid_is_in_cityscapes_train_ids(real_data: Path) -> None:
    made = load_card(REPOSITORY / "datasets" / "cards" / "camvid.yaml")
    expected = {0: 10, 1: 2, 2: 5, 3: 0, 4: 1, 5: 8, 6: 7, 7: 4, 8: 13, 9: 11, 10: 18}
    assert dict(made.raw_to_class) == expected
    assert (made.classes, made.ignore_ids) == (cityscapes.CLASSES, (11,))
