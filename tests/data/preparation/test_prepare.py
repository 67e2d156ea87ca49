"""Preparation of made downloads in every known layout, with the faults that real ones have."""

import json
import os
import shutil
import zlib
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from nightlab.data import catalog, reading
from nightlab.data.preparation.bdd100k import prepare_bdd100k_night
from nightlab.data.preparation.cityscapes_set import prepare_cityscapes
from nightlab.data.preparation.nightcity import prepare_nightcity
from nightlab.errors import InputError

from . import trees

TRUTH = trees.stripes(trees.TRAIN_IDS)


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that cards look in."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


@pytest.fixture
def command(repository: Path) -> Callable[[str], ModuleType]:
    def load(name: str) -> ModuleType:
        spec = spec_from_file_location(name, repository / "datasets" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def labels_of(name: str) -> dict[str, np.ndarray]:
    return {r["image_id"]: r["source"].read_label(r) for r in catalog.load(name)}


def nightcity(datasets: Path, **parts: Path):
    return prepare_nightcity(datasets / "nightcity", **parts, progress=False)


def test_nightcity_with_new_validation_labels(tmp_path: Path, datasets: Path) -> None:
    reports = nightcity(datasets, original=trees.nightcity(tmp_path / "a"), plus=trees.nightcity_plus(tmp_path / "b"))
    for name, number in (("nightcity_train", 4), ("nightcity_val", 2), ("nightcity_plus_val", 2)):
        labels = labels_of(name)
        assert len(labels) == number
        assert all((label == TRUTH).all() for label in labels.values()), "at the size of the image, in train ids"
    fit, held = ({r["image_id"] for r in catalog.load(f"nightcity_train_{part}")} for part in ("fit", "held"))
    assert held and not fit & held and len(fit | held) == 4
    text = "\n\n".join(map(str, reports))
    assert "train: 4 pairs, 2998 published; label maps in label ids, ids 4, 7, 11, 17, 23, 26" in text
    assert "is the archive extracted whole?" in text
    assert "resized, nearest neighbour: 2 from 48x24 to 24x12" in text
    assert "Dubai_0016_labelIds.png: Dubai_0016 is a training image, and NightCity+ is for validation; left out" in text
    assert text.count("Dubai_0016_labelIds.png") == 1 and "unpaired" not in text


def test_nightcity_fine_alone_and_over_the_original_images(tmp_path: Path, datasets: Path) -> None:
    fine = trees.nightcity_fine(tmp_path / "fine")
    nightcity(datasets, fine=fine)
    assert all((label == TRUTH).all() for label in labels_of("nightcity_fine_train").values())
    nightcity(datasets, fine=fine, original=trees.nightcity(tmp_path / "a"))
    assert labels_of("nightcity_train").keys() == labels_of("nightcity_fine_train").keys()


@pytest.mark.parametrize("kind", ["trainIds", "labelTrainIds", "labelIds_trainIds", "labelIds", ""])
def test_nightcity_fine_and_plus_in_every_id_space(tmp_path: Path, datasets: Path, kind: str) -> None:
    fine, plus = trees.nightcity_fine(tmp_path / "fine"), trees.nightcity_plus(tmp_path / "plus")
    for path in [*fine.glob("*/lbl/*.png"), *plus.glob("val/*.png")]:
        path.unlink()
        name = "_".join(path.stem.split("_")[:2] + ([kind] if kind else []))
        trees.label(path.with_name(f"{name}.png"), trees.LABEL_IDS if kind == "labelIds" else trees.TRAIN_IDS)
    nightcity(datasets, fine=fine, plus=plus)
    for name, number in (("nightcity_fine_train", 4), ("nightcity_fine_val", 2), ("nightcity_plus_val", 2)):
        labels = labels_of(name)
        assert len(labels) == number and all((label == TRUTH).all() for label in labels.values())


def test_plus_takes_the_images_that_were_prepared_before(tmp_path: Path, datasets: Path) -> None:
    plus = trees.nightcity_plus(tmp_path / "plus")
    with pytest.raises(InputError, match="has label maps only; name the folder of NightCity's images"):
        nightcity(datasets, plus=plus)
    nightcity(datasets, original=trees.nightcity(tmp_path / "a"))
    nightcity(datasets, plus=plus)
    assert len(labels_of("nightcity_plus_val")) == 2


def test_plus_without_its_folder(tmp_path: Path, datasets: Path) -> None:
    plus = trees.nightcity_plus(tmp_path / "plus")
    flat = (plus / "val").rename(tmp_path / "flat")
    nightcity(datasets, original=trees.nightcity(tmp_path / "a"), plus=flat)
    assert len(labels_of("nightcity_plus_val")) == 2
    trees.label(flat / "val" / "Paris_0000_labelIds.png", trees.LABEL_IDS[::-1])
    (_, report) = nightcity(datasets, original=tmp_path / "a", plus=flat)
    assert report.ids == {"val": ["val/Paris_0000"]}, "the folder counts where there is one"


def test_labels_of_nightcity_do_not_pass_for_those_of_plus(tmp_path: Path, datasets: Path) -> None:
    root = trees.nightcity(tmp_path / "a")
    copy = tmp_path / "copy" / "val"
    shutil.copytree(root / "NightCity-label/label/val", copy)
    for wrong in (root, copy):
        with pytest.raises(InputError, match=r"its 2 label maps are those of NightCity itself, as .*Paris_0000"):
            nightcity(datasets, original=root, plus=wrong)
    assert not datasets.exists(), "refused before anything is written"
    nightcity(datasets, original=root)
    with pytest.raises(InputError, match="those of NightCity itself"):
        nightcity(datasets, plus=copy)
    trees.label(copy / "Paris_0001_labelIds.png", trees.LABEL_IDS[::-1])
    for known in ({}, {"original": root}):
        nightcity(datasets, plus=copy, **known)  # one new label map is enough to tell them apart
    assert len(labels_of("nightcity_plus_val")) == 2


def test_the_misplaced_frame_is_trained_on_and_not_evaluated(tmp_path: Path, datasets: Path) -> None:
    root = trees.nightcity(tmp_path / "a")
    trees.image(root / "NightCity-images/images/val/Dubai_0016.png")
    trees.label(root / "NightCity-label/label/val/Dubai_0016_labelIds.png", trees.LABEL_IDS)
    both = {"original": root, "plus": trees.nightcity_plus(tmp_path / "b")}
    reports = nightcity(datasets, **both)
    assert "train/Dubai_0016" in labels_of("nightcity_train")
    assert len(labels_of("nightcity_val")) == len(labels_of("nightcity_plus_val")) == 2
    moved, left = "that came in validation, and is put into train", "NightCity+ is for validation; left out"
    for report, said in zip(reports, (moved, left), strict=True):
        assert [said in remark for remark in report.remarks if "Dubai_0016" in remark] == [True]
        assert not report.unpaired
    trees.image(root / "NightCity-images/images/train/Dubai_0016.png")
    trees.label(root / "NightCity-label/label/train/Dubai_0016_labelIds.png", trees.LABEL_IDS)
    assert "also came in validation; that copy is left out" in str(nightcity(datasets, **both)[0])


def test_a_second_call_changes_nothing_and_a_new_label_map_is_seen(tmp_path: Path, datasets: Path) -> None:
    root = trees.nightcity(tmp_path / "a")
    first = nightcity(datasets, original=root)[0]
    assert dict(first.done) == {"linked": 6}
    prepared = {p: p.stat().st_mtime_ns for p in datasets.rglob("*.png")}
    assert dict(nightcity(datasets, original=root)[0].done) == {"unchanged": 6}
    assert {p: p.stat().st_mtime_ns for p in datasets.rglob("*.png")} == prepared
    path = root / "NightCity-label/label/train/Beijing_0001_labelIds.png"
    trees.label(path, trees.LABEL_IDS[::-1])
    os.utime(path, (1, 1))
    nightcity(datasets, original=root)
    assert (labels_of("nightcity_train")["train/Beijing_0001"] == TRUTH[:, ::-1]).all()
    assert not list(datasets.rglob("*.part"))


def test_a_download_inside_the_prepared_folder(tmp_path: Path, datasets: Path) -> None:
    trees.nightcity(datasets / "nightcity")
    for _ in range(2):
        assert len(nightcity(datasets, original=datasets / "nightcity")[0].ids["train"]) == 4
    assert len(labels_of("nightcity_val")) == 2


def test_downloads_that_lie_where_they_are_prepared(
    tmp_path: Path, datasets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BDD100K has folders `labels` of its own; and where nothing can be linked, images are there twice."""
    root = trees.bdd100k(datasets / "bdd100k_night")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links here")))
    trees.nightcity(datasets / "nightcity")
    for _ in range(2):
        (report,) = prepare_bdd100k_night(root, root, progress=False)
        assert [len(ids) for ids in report.ids.values()] == [5, 2]
        report = nightcity(datasets, original=datasets / "nightcity")[0]
        assert [len(ids) for ids in report.ids.values()] == [4, 2]
    assert (labels_of("nightcity_train")["train/Beijing_0001"] == TRUTH).all()


def test_files_of_another_set_below_the_root_are_pointed_out(tmp_path: Path, datasets: Path) -> None:
    root = trees.nightcity(tmp_path / "downloads")
    assert not any("several folders" in remark for remark in nightcity(datasets, original=root)[0].remarks)
    trees.image(root / "my_streets/images/train/a.png")
    trees.label(root / "my_streets/label/train/a_labelIds.png", trees.LABEL_IDS)
    remarks = nightcity(datasets, original=root)[0].remarks
    assert any(f"images are from several folders, {root}/NightCity-images/images, " in remark for remark in remarks)


def test_a_lost_label_map_is_not_replaced_by_one_of_another_kind(tmp_path: Path, datasets: Path) -> None:
    root = trees.cityscapes_download(tmp_path / "c")
    lost = sorted(root.glob("gtFine/train/*/*_labelIds.png"))[0]
    lost.unlink()
    (report,) = prepare_cityscapes(root, datasets / "cityscapes", progress=False)
    assert [len(ids) for ids in report.ids.values()] == [2, 3]
    assert len(report.unpaired) == 1 and "an image without a label map" in report.unpaired[0]
    assert all((label == TRUTH).all() for label in labels_of("cityscapes_train").values())


def test_a_split_without_anything_is_told_and_its_old_list_goes(tmp_path: Path, datasets: Path) -> None:
    root = trees.nightcity(tmp_path / "a")
    nightcity(datasets, original=root)
    lists = datasets / "nightcity" / "lists"
    assert (lists / "val.txt").is_file()
    for path in root.glob("NightCity-label/label/val/*.png"):
        path.write_bytes(b"")
    (report,) = nightcity(datasets, original=root)
    assert "val: 0 pairs, 1299 published\n" in str(report) and len(report.faults) == 2
    assert not (lists / "val.txt").exists() and (lists / "train_held.txt").is_file()
    for folder in ("NightCity-label/label/val", "NightCity-label/color/val", "NightCity-images/images/val"):
        shutil.rmtree(root / folder)
    assert "val: 0 pairs, 1299 published\n" in str(nightcity(datasets, original=root)[0])


def test_times_of_day_that_are_not_there(tmp_path: Path, datasets: Path) -> None:
    root, output = trees.bdd100k(tmp_path / "b"), datasets / "bdd100k_night"
    for place in (tmp_path / "nope", tmp_path):
        (root / "labels" / "._frames.json").write_text("no JSON")  # which macOS writes, and which is none
        with pytest.raises(InputError, match=r"--attributes .*: no JSON file there"):
            prepare_bdd100k_night(root, output, attributes=[place / "x"], progress=False)
    (report,) = prepare_bdd100k_night(root, output, progress=False)
    (root / "labels" / "frames.json").write_text("{torn")
    with pytest.raises(InputError, match=r"frames\.json: cannot be read as JSON"):
        prepare_bdd100k_night(root, output, progress=False)
    (report,) = prepare_bdd100k_night(root, output, by="luminance", progress=False)
    assert any("frames.json: cannot be read as JSON" in remark for remark in report.remarks)


def test_a_listed_frame_without_a_label_map_is_told(tmp_path: Path, datasets: Path) -> None:
    root = trees.bdd100k(tmp_path / "b")
    (root / "labels/sem_seg/masks/train/n0.png").unlink()
    (tmp_path / "night.txt").write_text("n0\nd0\n")
    (report,) = prepare_bdd100k_night(root, datasets / "bdd100k_night", listed=tmp_path / "night.txt", progress=False)
    assert labels_of("bdd100k_night_train_night").keys() == {"train/d0"}
    assert "of the night list, without a usable label map: train/n0" in report.remarks


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_an_output_that_cannot_be_written_is_one_line(
    tmp_path: Path, datasets: Path, command: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").touch()
    root = trees.cityscapes_download(tmp_path / "c")
    assert command("prepare_cityscapes").main([str(root), "--output", str(tmp_path / place)]) == 2
    said = capsys.readouterr().err
    assert "cannot be written" in said and "--output" in said and said.count("\n") == 1


def test_nothing_of_the_download_is_overwritten(tmp_path: Path, datasets: Path) -> None:
    root = datasets / "nightcity"
    trees.image(root / "images/train/a.png")
    trees.label(root / "labels/train/a.png", trees.LABEL_IDS)
    before = (root / "labels/train/a.png").read_bytes()
    with pytest.raises(InputError, match="is a file of the download itself; name another --output"):
        nightcity(datasets, original=root)
    assert (root / "labels/train/a.png").read_bytes() == before


@pytest.mark.parametrize("keep", ["labelIds", "labelTrainIds", "color"])
def test_cityscapes_in_every_id_space(tmp_path: Path, datasets: Path, keep: str) -> None:
    root = trees.cityscapes_download(tmp_path / "c")
    for path in root.glob("gtFine/*/*/*.png"):
        if not path.stem.endswith(f"_{keep}"):
            path.unlink()
    (report,) = prepare_cityscapes(root, datasets / "cityscapes", progress=False)
    assert {split: len(ids) for split, ids in report.ids.items()} == {"train": 3, "val": 3}
    for split in ("train", "val"):
        assert all((label == TRUTH).all() for label in labels_of(f"cityscapes_{split}").values())


@pytest.mark.parametrize("old", [False, True])
def test_bdd100k_by_luminance(tmp_path: Path, datasets: Path, old: bool) -> None:
    root = trees.bdd100k(tmp_path / "b", old=old)
    (report,) = prepare_bdd100k_night(root, datasets / "bdd100k_night", progress=False)
    assert labels_of("bdd100k_night_train_night").keys() == {"train/n0", "train/n1", "train/n2"}
    assert labels_of("bdd100k_night_train_day").keys() == {"train/d0", "train/d1"}
    assert labels_of("bdd100k_night_val_night").keys() == {"val/n3"}
    assert any("3 night frames (3 by luminance), 343 published" in remark for remark in report.remarks)
    assert len(report.unpaired) == 2 and not report.faults


@pytest.mark.parametrize("old", [False, True])
def test_colours_serve_where_bdd100k_has_no_ids(tmp_path: Path, datasets: Path, old: bool) -> None:
    root = trees.bdd100k(tmp_path / "b", old=old)
    for path in root.rglob("*.png"):
        path.unlink()
        folder = "seg/color_labels" if old else "labels/sem_seg/colormaps"
        name = path.name.replace("_train_id", "_train_color")
        trees.label(root / folder / path.parent.name / name, trees.COLORS)
    (report,) = prepare_bdd100k_night(root, datasets / "bdd100k_night", progress=False)
    assert report.spaces == {"train": "colours", "val": "colours"}
    for name, number in (("train_night", 3), ("train_day", 2), ("val_night", 1)):
        labels = labels_of(f"bdd100k_night_{name}")
        assert len(labels) == number and all((label == TRUTH).all() for label in labels.values())


def test_bdd100k_holds_out_a_fifth_of_its_night(tmp_path: Path, datasets: Path) -> None:
    root = trees.bdd100k(tmp_path / "b")
    for n in range(20):
        trees.image(root / f"images/10k/train/m{n}.jpg", 20)
        trees.label(root / f"labels/sem_seg/masks/train/m{n}.png")
    prepare_bdd100k_night(root, datasets / "bdd100k_night", progress=False)
    night, held, fit = (labels_of(f"bdd100k_night_train_night{part}").keys() for part in ("", "_held", "_fit"))
    assert held == {i for i in night if zlib.crc32(i.encode()) % 5 == 0} and 2 <= len(held) <= 8
    assert fit == night - held


def test_bdd100k_by_attribute_with_its_agreement(tmp_path: Path, datasets: Path) -> None:
    root = trees.bdd100k(tmp_path / "b")
    frames = [
        {"name": f"{n}.jpg", "attributes": {"timeofday": t}}
        for n, t in (("n0", "night"), ("n1", "daytime"), ("d0", "night"), ("d1", "undefined"))
    ]
    (root / "labels" / "frames.json").write_text(json.dumps({"frames": frames}))
    other = {"name": "n0.jpg", "attributes": {"timeofday": "undefined"}}
    (root / "labels" / "other.json").write_text(json.dumps([other]))  # what one file does not know, another does
    for _ in range(2):  # the second time, luminance comes from night.csv
        (report,) = prepare_bdd100k_night(root, datasets / "bdd100k_night", progress=False)
        assert labels_of("bdd100k_night_train_night").keys() == {"train/n0", "train/n2", "train/d0"}
        assert any("agree on 1 of 3 frames with a time of day (33.3 %)" in remark for remark in report.remarks)
        assert any("(2 by attribute, 1 by luminance)" in remark for remark in report.remarks)
    assert "train/n2,1,luminance,,20.0" in (datasets / "bdd100k_night" / "night.csv").read_text()


def test_a_second_call_judges_a_frame_at_the_threshold_alike(tmp_path: Path, datasets: Path) -> None:
    root = trees.bdd100k(tmp_path / "b")
    pixels = np.full((12, 24, 3), 48, np.uint8)
    pixels[0, 0] = 47  # a mean of 47.9965, which is 48.00 with two decimals
    Image.fromarray(pixels).save(root / "images/10k/train/n0.jpg", format="PNG")  # whose pixels stay as they are
    written = []
    for _ in range(2):
        prepare_bdd100k_night(root, datasets / "bdd100k_night", by="luminance", progress=False)
        files = [*(datasets / "bdd100k_night/lists").glob("*.txt"), datasets / "bdd100k_night/night.csv"]
        written.append({path: path.read_text() for path in files})
    assert "train/n0" in labels_of("bdd100k_night_train_night")
    assert written[0] == written[1]


def test_bdd100k_by_a_list(tmp_path: Path, datasets: Path) -> None:
    root = trees.bdd100k(tmp_path / "b")
    (tmp_path / "night.txt").write_text("# mine\nd0.jpg\nval/n3\n")
    output = datasets / "bdd100k_night"
    prepare_bdd100k_night(root, output, listed=tmp_path / "night.txt", progress=False)
    assert labels_of("bdd100k_night_train_night").keys() == {"train/d0"}
    assert (output / "lists" / "val_day.txt").is_file()
    (tmp_path / "night.txt").write_text("d0\nn3\nd2\n")
    prepare_bdd100k_night(root, output, listed=tmp_path / "night.txt", progress=False)
    assert not (output / "lists" / "val_day.txt").exists(), "no list of an earlier rule is left"
    (tmp_path / "night.txt").write_text("d9\nn3\n")
    (report,) = prepare_bdd100k_night(root, output, listed=tmp_path / "night.txt", progress=False)
    assert labels_of("bdd100k_night_val_night").keys() == {"val/n3"}
    assert "of the night list, not in this copy: d9" in report.remarks
    (tmp_path / "night.txt").write_text("d9\n")
    with pytest.raises(InputError, match=r"none of the 1 frame.* d9"):
        prepare_bdd100k_night(root, output, listed=tmp_path / "night.txt", progress=False)


def test_damaged_and_foreign_files_are_left_out_and_told(tmp_path: Path, datasets: Path) -> None:
    root = trees.nightcity(tmp_path / "a")
    images, labels = root / "NightCity-images/images/train", root / "NightCity-label/label/train"
    whole = (images / "Beijing_0000.png").read_bytes()
    (images / "Beijing_0000.png").write_bytes(whole[: len(whole) // 2])
    (labels / "Beijing_0001_labelIds.png").write_bytes(b"")
    Image.fromarray(trees.stripes(trees.LABEL_IDS)[:, 12:]).save(labels / "Beijing_0002_labelIds.png")
    (report,) = nightcity(datasets, original=root)
    assert report.ids["train"] == ["train/Beijing_0003"]
    assert len(report.faults) == 3
    for reason in ("truncated or damaged", "the file is empty", "another aspect"):
        assert any(reason in fault for fault in report.faults)
        assert reason in (datasets / "nightcity" / "prepared.txt").read_text()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "x.zip").write_bytes(b""), r"holds nothing of .*; extract x.zip first"),
        (lambda root: trees.image(root / "images/train/a.png"), "has 1 images and no label maps"),
        (lambda root: trees.label(root / "label/train/a_labelIds.png"), "has 1 label maps and no images"),
        (lambda root: [trees.nightcity(root / c) for c in "ab"], "are both 'train/Beijing_0000'"),
    ],
)
def test_unusable_folders(tmp_path: Path, datasets: Path, spoil: Callable[[Path], object], message: str) -> None:
    (tmp_path / "a").mkdir()
    spoil(tmp_path / "a")
    with pytest.raises(InputError, match=message):
        nightcity(datasets, original=tmp_path / "a")
    assert not (datasets / "nightcity").exists()


def test_two_layouts_of_bdd100k_in_one_folder(tmp_path: Path, datasets: Path) -> None:
    trees.bdd100k(tmp_path / "b")
    trees.bdd100k(tmp_path / "b", old=True)
    with pytest.raises(InputError, match="more than one layout"):
        prepare_bdd100k_night(tmp_path / "b", datasets / "bdd100k_night", progress=False)


def test_the_commands(
    tmp_path: Path, datasets: Path, command: Callable[[str], ModuleType], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command("prepare_nightcity").main(["--original", str(trees.nightcity(tmp_path / "n"))]) == 0
    assert "DATASETS can name nightcity_train, nightcity_val, nightcity_train_fit" in capsys.readouterr().out
    assert command("prepare_cityscapes").main([str(trees.cityscapes_download(tmp_path / "c"))]) == 0
    assert command("prepare_bdd100k_night").main([str(trees.bdd100k(tmp_path / "b")), "--by", "luminance"]) == 0
    assert "bdd100k_night_val_night" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "c/gtFine/val")
    assert command("prepare_cityscapes").main([str(tmp_path / "c")]) == 1, "a published split is not there"
    assert "val: 0 pairs, 500 published" in capsys.readouterr().out
    assert command("prepare_cityscapes").main([str(tmp_path / "absent")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_real_frames_in_the_old_layout(tmp_path: Path, datasets: Path, real_data: Path) -> None:
    """Real night and day at 128x72 keep their labels, and luminance finds the night that their list names."""
    source = real_data / "bdd_micro"
    lists = {split: (source / "splits" / f"{split}.txt").read_text().split() for split in ("val_night", "val_day")}
    for image_id in (*lists["val_night"], *lists["val_day"][:20]):
        for folder, given, wanted in (("images", ".jpg", ".jpg"), ("labels", ".png", "_train_id.png")):
            target = tmp_path / "seg" / folder / "val" / f"{image_id}{wanted}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(source / folder / f"{image_id}{given}")
    prepare_bdd100k_night(tmp_path, datasets / "bdd100k_night", progress=False)
    prepared = labels_of("bdd100k_night_val_night")
    assert {i.removeprefix("val/") for i in prepared} == set(lists["val_night"])
    for image_id, label in prepared.items():
        raw = reading.read_raw_label(source / "labels" / f"{image_id.removeprefix('val/')}.png")
        assert (label == raw).all()
