"""The catalogue: names reach detectron2 lazily, clashes and typos are refused, records are checked when loaded."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from PIL import Image

from nightlab.data import Source, catalog, get_source, load, register_builtin, register_cards, register_source
from nightlab.data.card_schema import parse_card
from nightlab.data.cards import Card, Split
from nightlab.errors import InputError

CARD = """
name: {name}
root: tiny
images: images/{{id}}.png
labels: labels/{{id}}.png
splits: {{train: {{ids: [a, b]}}, val: {{ids: [c]}}}}
classes: [road, car]
"""


@pytest.fixture(autouse=True)
def clean_catalog() -> Iterator[None]:
    """Takes out again what a test registers."""
    tables: list[dict[Any, Any]] = [catalog._sources, catalog._owners, catalog._faulty_cards]
    before, known = [dict(table) for table in tables], set(DatasetCatalog.list())
    yield
    for name in set(DatasetCatalog.list()) - known:
        DatasetCatalog.remove(name)
        MetadataCatalog.pop(name, None)
    for table, content in zip(tables, before, strict=True):
        table.clear()
        table.update(content)


class Writer(Protocol):
    """Writes a card of some name, of `CARD` or of another text, and gives its path."""

    def __call__(self, name: str, text: str = CARD) -> Path: ...


@pytest.fixture
def write_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Writes a card over a small tree with the images a, b and c."""
    for folder, mode in (("images", "RGB"), ("labels", "L")):
        (tmp_path / "tiny" / folder).mkdir(parents=True)
        for name in "abc":
            Image.new(mode, (4, 3)).save(tmp_path / "tiny" / folder / f"{name}.png")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))

    def write(name: str, text: str = CARD) -> Path:
        path = tmp_path / f"{name}.yaml"
        path.write_text(text.format(name=name))
        return path

    return write


def test_splits_reach_detectron2(write_card: Writer) -> None:
    register_cards([write_card("tiny_a")])
    records = DatasetCatalog.get("tiny_a_train")
    assert [record["image_id"] for record in records] == ["a", "b"]
    metadata = MetadataCatalog.get("tiny_a_val")
    assert metadata.stuff_classes == ["road", "car"]
    assert metadata.stuff_colors[0] == [128, 64, 128]
    assert (metadata.ignore_label, metadata.evaluator_type, metadata.source_name) == (255, "sem_seg", "tiny_a")


def test_registering_reads_nothing(write_card: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", "/nowhere")
    register_cards([write_card("tiny_a")])
    with pytest.raises(InputError, match="no such folder"):
        DatasetCatalog.get("tiny_a_train")


def test_folders_of_cards(write_card: Writer, tmp_path: Path) -> None:
    write_card("tiny_a")
    write_card("tiny_b")
    register_cards([tmp_path])
    assert {"tiny_a_val", "tiny_b_val"} <= set(DatasetCatalog.list())


def test_registering_twice(write_card: Writer) -> None:
    path = write_card("tiny_a")
    register_cards([path, path])
    card = get_source("tiny_a")
    assert isinstance(card, Card)
    register_source(replace(card, path=None))
    with pytest.raises(InputError, match=r"the name 'tiny_a' is taken by .*tiny_a\.yaml; rename one"):
        register_source(replace(card, images="photos/{id}.png"))


def test_clashing_split_names(write_card: Writer) -> None:
    register_cards([write_card("clash_a")])
    card = get_source("clash_a")
    assert isinstance(card, Card)
    clash = replace(card, name="clash", split_ids=(("a_train", Split(ids=("a",))),))
    with pytest.raises(InputError, match="source 'clash_a' has already registered 'clash_a_train'"):
        register_source(clash)
    taken = replace(clash, name="coco", split_ids=(("2017_train", Split(ids=("a",))),))
    assert "coco_2017_train" in DatasetCatalog.list()
    with pytest.raises(InputError, match="detectron2 has already registered 'coco_2017_train'"):
        register_source(taken)


def test_load_concatenates(write_card: Writer) -> None:
    register_cards([write_card("tiny_a"), write_card("tiny_b")])
    assert [record["image_id"] for record in load(("tiny_a_val", "tiny_b_train"))] == ["c", "a", "b"]
    assert len(load("tiny_a_train")) == 2


def test_load_refuses_unknown_names(write_card: Writer) -> None:
    register_cards([write_card("tiny_a")])
    with pytest.raises(InputError, match=r"no data set 'tiny_a_trian'; did you mean tiny_a_train.*write a card"):
        load(["tiny_a_trian"])
    with pytest.raises(InputError, match="there are the splits of"):
        load(["zzzzzz"])
    with pytest.raises(InputError, match="'tiny_a' names no split; choose from tiny_a_train, tiny_a_val"):
        load(["tiny_a"])
    with pytest.raises(InputError, match="known to detectron2 but not to NightLab"):
        load(["coco_2017_train"])
    with pytest.raises(InputError, match="no data set is named"):
        load([])


def test_inside_of_a_run_a_set_stays_what_it_was(tiny_root: Path, tiny_card: str) -> None:
    image = tiny_root / "images" / "a1.png"
    with catalog.looked_up_once():
        before = catalog.load(f"{tiny_card}_train")
        image.unlink()
        assert catalog.load(f"{tiny_card}_train") == before
        assert len(catalog.load(f"{tiny_card}_train", require_labels=False)) == len(before) - 1, "asked for otherwise"
    assert len(catalog.load(f"{tiny_card}_train")) == len(before) - 1


def test_load_refuses_what_is_no_name() -> None:
    with pytest.raises(InputError, match=r"^3: a data set is named in quotes"):
        catalog.load((3,))  # type: ignore[arg-type]


def test_load_refuses_different_classes(write_card: Writer) -> None:
    register_cards([write_card("tiny_a"), write_card("tiny_b", CARD.replace("[road, car]", "[road, car, bus]"))])
    with pytest.raises(InputError, match=r"'tiny_a_train' \(2 classes\) and 'tiny_b_train' \(3 classes\) differ"):
        load(["tiny_a_train", "tiny_b_train"])


def test_load_names_missing_files(write_card: Writer, tmp_path: Path) -> None:
    register_cards([write_card("tiny_a")])
    (tmp_path / "tiny/images/a.png").unlink()
    (tmp_path / "tiny/labels/b.png").unlink()
    with pytest.raises(InputError, match=r"^2 file\(s\) missing: .*images/a\.png, .*labels/b\.png; restore them"):
        load(["tiny_a_train"])
    assert len(load(["tiny_a_val"])) == 1


def test_missing_files_are_shortened(write_card: Writer) -> None:
    ids = ", ".join(f"x{n}" for n in range(15))
    register_cards([write_card("tiny_a", CARD.replace("[a, b]", f"[{ids}]"))])
    with pytest.raises(InputError, match=r"^30 file\(s\) missing: .* and 20 more; restore") as caught:
        load(["tiny_a_train"])
    assert str(caught.value).count(".png") == 10


def test_images_alone_do_not_train(write_card: Writer) -> None:
    register_cards([write_card("tiny_a", CARD.replace("labels: labels/{{id}}.png\n", ""))])
    with pytest.raises(InputError, match="'tiny_a_train' has images only"):
        load(["tiny_a_train"])
    assert len(load(["tiny_a_train"], require_labels=False)) == 2


def test_where_labels_are_not_read_they_may_be_missing_or_of_other_classes(write_card: Writer, tmp_path: Path) -> None:
    other = CARD.replace("[road, car]", "[road, car, bus]")
    register_cards([write_card("tiny_a"), write_card("tiny_b", other)])
    (tmp_path / "tiny/labels/b.png").unlink()
    records = load(["tiny_a_train", "tiny_b_train"], require_labels=False)
    assert ["sem_seg_file_name" in record for record in records] == [True, False] * 2
    (tmp_path / "tiny/images/b.png").unlink()
    with pytest.raises(InputError, match=r"^2 file\(s\) missing: .*images/b\.png, .*images/b\.png; restore them"):
        load(["tiny_a_train", "tiny_b_train"], require_labels=False)


class Made:
    """A source without files."""

    name, classes, colors, ignore_label, splits = "made", ("a", "b"), ((0, 0, 0), (1, 1, 1)), 255, ("train", "none")

    def records(self, split: str) -> list[dict[str, object]]:
        return [{"file_name": "made/train/0", "image_id": "0", "source": self}] if split == "train" else []

    def read_image(self, record: dict[str, object]) -> np.ndarray:
        return np.zeros((2, 2, 3), np.uint8)

    def read_label(self, record: dict[str, object]) -> np.ndarray:
        return np.zeros((2, 2), np.uint8)


def test_any_source_can_be_registered() -> None:
    made = Made()
    assert isinstance(made, Source)
    register_source(made)
    assert load("made_train")[0]["source"] is made
    with pytest.raises(InputError, match="'made_none' is empty"):
        load("made_none")


def test_builtin_sets_are_there() -> None:
    register_builtin()
    assert {"nightstreet_night_train", "nightstreet_full_day_val", "camvid_test_dusk"} <= set(DatasetCatalog.list())
    assert isinstance(get_source("nightstreet"), Source)
    assert isinstance(get_source("camvid"), Source)
    assert load("nightstreet_night_val")[0]["source"] is get_source("nightstreet")


def test_a_faulty_builtin_card_stops_nobody_else(
    write_card: Writer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_card("tiny_a")
    (tmp_path / "mine.yaml").write_text("name: mine\nimage: x")
    monkeypatch.setattr(catalog, "BUILTIN_CARDS", tmp_path)
    with caplog.at_level(logging.WARNING):
        register_builtin()
    assert "mine.yaml: unknown key 'image'" in caplog.text
    assert len(load("tiny_a_train")) == 2
    with pytest.raises(InputError, match=r"a card was left out: .*mine\.yaml: unknown key 'image'"):
        load("mine_train")


def test_an_absent_folder_of_builtin_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "BUILTIN_CARDS", tmp_path / "none")
    register_builtin()


def test_card_is_a_source() -> None:
    content = {"name": "x", "images": "{id}.png", "splits": {"a": "a.txt"}, "classes": "cityscapes"}
    assert isinstance(parse_card(content, Path("x.yaml")), Source)
