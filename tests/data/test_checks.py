"""The whole check of a data set: every faulty file is listed, the figures are right, the exit status tells."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nightlab.data import get_source
from nightlab.data.card_schema import load_card
from nightlab.data.checks import check_source
from nightlab.errors import InputError

CARD = """
name: tiny
images: images/{id}.jpg
labels: labels/{id}.png
splits:
  train: train.txt
  val: {glob: "images/v*.jpg"}
classes: [road, car]
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of ten good pairs of 8x6 pixels: t0 to t7 for training, v0 and v1 for validation."""
    root = tmp_path / "tiny"
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    label = np.zeros((6, 8), np.uint8)
    label[:, :2], label[0] = 1, 255
    names = [f"t{n}" for n in range(8)] + ["v0", "v1"]
    for name in names:
        Image.new("RGB", (8, 6), (100, 100, 100)).save(root / "images" / f"{name}.jpg")
        Image.fromarray(label).save(root / "labels" / f"{name}.png")
    (root / "train.txt").write_text("\n".join(names[:8]))
    (tmp_path / "tiny.yaml").write_text(CARD)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return root


def check(tree: Path, **options: Any) -> list[Any]:
    return check_source(load_card(tree.parent / "tiny.yaml"), progress=False, **options)


@pytest.mark.parametrize("workers", [1, 4])
def test_figures_of_a_good_set(tree: Path, workers: int) -> None:
    train, val = check(tree, workers=workers)
    assert (train.name, train.images, val.images) == ("tiny_train", 8, 2)
    assert train.faults == train.warnings == val.faults == val.warnings == []
    assert train.class_pixels.tolist() == [8 * 30, 8 * 10]
    assert train.class_images.tolist() == [8, 8]
    assert train.class_weights == [0.82, 1.41], "(160 / 240)^0.5 and (160 / 80)^0.5"
    assert train.ignored_pixels == 8 * 8
    assert train.sizes == {"8x6": 8}
    assert train.luminance == pytest.approx([100] * 8, abs=1)
    assert "no faults" in str(train)
    assert "62.50 %" in str(train)  # road: 30 of 48 pixels


def test_every_faulty_file_is_listed(tree: Path) -> None:
    images, labels = tree / "images", tree / "labels"
    whole = Image.effect_noise((64, 48), 90).convert("RGB")
    whole.save(images / "t0.jpg")
    (images / "t0.jpg").write_bytes((images / "t0.jpg").read_bytes()[:-400])
    (images / "t1.jpg").write_bytes(b"")
    Image.new("L", (16, 12)).save(labels / "t2.png")
    Image.new("L", (8, 6), 7).save(labels / "t3.png")
    Image.new("RGB", (8, 6)).save(labels / "t4.png")
    (labels / "t5.png").unlink()
    (images / "t6.jpg").unlink()
    (labels / "t6.png").write_bytes(b"")
    Image.new("L", (8, 6), 255).save(labels / "t7.png")
    train, val = check(tree)
    expected = [
        ("images/t0.jpg", "truncated"),
        ("images/t1.jpg", "empty"),
        ("labels/t2.png", "16x12"),
        ("labels/t3.png", "raw id 7 (48 px)"),
        ("labels/t4.png", "R+G+B"),
        ("labels/t5.png", "no such file"),
        ("images/t6.jpg", "no such file"),
        ("labels/t6.png", "empty"),
    ]
    assert len(train.faults) == len(expected)
    for fault, (file, reason) in zip(train.faults, expected, strict=True):
        assert str(tree / file) in fault
        assert reason in fault
        assert "\n" not in fault
    assert len(train.warnings) == 1
    assert "labels/t7.png: every pixel is ignored" in train.warnings[0]
    assert val.faults == []
    assert f"fault: {train.faults[0]}" in str(train)


def test_palette_labels_are_fine(tree: Path) -> None:
    label = Image.open(tree / "labels" / "t0.png").convert("P")
    label.save(tree / "labels" / "t0.png")
    assert check(tree)[0].faults == []


def test_train_ids_that_are_read_as_label_ids_are_warned_of(tree: Path) -> None:
    read_as = "classes: cityscapes\nlabel_map: cityscapes_label_ids"
    (tree.parent / "tiny.yaml").write_text(CARD.replace("classes: [road, car]", read_as))
    for report in check(tree):
        assert any("no label map holds an id beyond 18" in warning for warning in report.warnings)
    for path in (tree / "labels").glob("*.png"):
        Image.fromarray(np.tile(np.array([7, 4, 26, 7], np.uint8), (6, 2))).save(path)
    assert [report.warnings for report in check(tree)] == [[], []]


def test_missing_list_is_one_fault_and_the_other_splits_go_on(tree: Path) -> None:
    (tree / "train.txt").unlink()
    train, val = check(tree)
    assert "train.txt: no such file" in train.faults[0]
    assert (train.images, val.images, len(val.faults)) == (0, 2, 0)


def test_glob_split_lists_unpaired_files(tree: Path) -> None:
    (tree / "labels" / "v0.png").unlink()
    (tree / "images" / "v1.jpg").unlink()
    val = check(tree, splits=["val"])[0]
    assert [str(tree / "labels" / "v0.png") in fault for fault in val.faults] == [True]
    assert val.warnings == [f"{tree / 'labels' / 'v1.png'}: a label without an image"]


def test_evaluated_images_in_training_are_warned_of(tree: Path) -> None:
    with (tree / "train.txt").open("a") as file:
        file.write("\nv1")
    train, val = check(tree)
    assert len(train.warnings) == 1
    assert "split 'val' shares 1 image(s) with 'train'" in train.warnings[0]
    assert val.warnings == []


def test_images_alone(tree: Path) -> None:
    path = tree.parent / "tiny.yaml"
    path.write_text(CARD.replace("labels: labels/{id}.png\n", ""))
    train = check(tree)[0]
    assert (train.faults, train.ignored_pixels, train.sizes) == ([], 0, {"8x6": 8})


def test_unknown_split_and_folder(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no split 'tain', only train, val"):
        check(tree, splits=["tain"])
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tree / "nowhere"))
    with pytest.raises(InputError, match="set DETECTRON2_DATASETS"):
        check(tree)


@pytest.fixture
def tool(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    return load_tool("check_dataset")


def test_command_line(tree: Path, tool: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    card, report = str(tree.parent / "tiny.yaml"), tree.parent / "report.json"
    assert tool.main([card, "--workers", "2", "--json", str(report)]) == 0
    assert "no faults in 10 images" in capsys.readouterr().out
    content = json.loads(report.read_text())
    assert [split["name"] for split in content] == ["tiny_train", "tiny_val"]
    assert content[1]["class_pixels"] == {"road": 60, "car": 20}
    (tree / "images" / "v0.jpg").write_bytes(b"")
    assert tool.main([card, "--split", "val"]) == 1
    assert "1 fault in 2 images" in capsys.readouterr().out
    assert tool.main([card, "--split", "train"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.yaml"], "no such card"),
        (["camvd"], "did you mean camvid"),
        (["tiny.yaml", "--split", "x"], "no split 'x'"),
        (["tiny.yaml", "--json", "none/report.json"], "cannot be written"),
    ],
)
def test_unusable_arguments(
    tree: Path,
    tool: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tree.parent)
    assert tool.main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err


def test_real_night_frames(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(real_data))
    report = check_source(get_source("bdd_micro"), ["val_night"], progress=False)[0]
    assert (report.images, report.faults) == (27, [])
    pixels = dict(zip(report.classes, report.class_pixels.tolist(), strict=True))
    assert pixels["traffic light"] == 65
    assert sum(count > 0 for count in pixels.values()) == 14
    assert max(report.luminance) < 49
