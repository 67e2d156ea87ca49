"""Ranking of classes by held-out IoU: on small runs written by hand, whose test images must never be ranked on."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
import yaml
from PIL import Image

from nightlab.errors import InputError
from nightlab.evaluation.hard_classes import HeldOut, draw_ranking, is_hard, rank, ranking_table, read_held_out

DATASETS = {"TRAIN": ["tiny_train"], "VAL": ["tiny_val"], "TEST": ["tiny_test"], "VAL_FRACTION": 0.1, "CARDS": []}
IOU = {"dark": 90.0, "grey": 49.9}  # the third class of `tiny`, bright, is absent


def validated(iteration, miou, iou, level="sem_seg"):
    """A line of metrics.json, as a validation writes it: absent classes have no entry."""
    figures = {"mIoU": miou, "mIoU-hard": 1.0, **{f"IoU-{name}": value for name, value in iou.items()}}
    return {"iteration": iteration, "total_loss": 1.0} | {f"val/{level}/{k}": v for k, v in figures.items()}


def write_run(folder, *history, hard_iou=0.5, **datasets):
    """A run's folder with these lines of metrics.json."""
    folder.mkdir(exist_ok=True)
    config = {"DATASETS": DATASETS | datasets, "MODEL": {"NIGHTLAB": {"HARD_IOU": hard_iou}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "metrics.json").write_text("".join(json.dumps(line) + "\n" for line in history))
    return folder


def write_evaluation(folder, dataset, figures, level="sem_seg", **changes):
    document = {"dataset": dataset, "iteration": 399, "classes": list(figures)}
    document["results"] = {"sem_seg": {}, level: {f"IoU-{name}": value for name, value in figures.items()}}
    path = folder / "evaluation" / dataset / "eval.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document | changes))
    return path


def held_out(iou, **changes):
    return HeldOut(**{"source": "a run", "data": "streets_val", "iou": iou} | changes)


def test_hard_is_below_the_threshold_and_absent_never():
    assert is_hard(np.array([49.99, 50, 51, np.nan, 0]), 0.5).tolist() == [True, False, False, False, True]
    assert is_hard(np.array([49.99, 0]), 0.0).tolist() == [False, False]


def test_the_hardest_class_comes_first():
    ranking = rank([held_out({"road": 98.0, "pole": 20.0, "car": 50.0, "wall": 20.0}, absent=("train",))])
    assert [(c.name, c.mean, c.hard) for c in ranking.classes] == [
        ("pole", 20.0, True),
        ("wall", 20.0, True),
        ("car", 50.0, False),
        ("road", 98.0, False),
    ]
    assert ranking.absent == ("train",) and ranking.hard_iou == 0.5, "the paper's, where the run's is not known"


def test_the_threshold_is_the_runs_own_unless_one_is_given():
    runs = [held_out({"road": 98.0, "pole": 45.0}, hard_iou=0.4)]
    assert [c.hard for c in rank(runs).classes] == [False, False]
    assert [c.hard for c in rank(runs, 0.46).classes] == [True, False]
    runs.append(held_out({"road": 98.0, "pole": 45.0}, hard_iou=0.5))
    with pytest.raises(InputError, match=r"0\.4, 0\.5; .*--hard-iou"):
        rank(runs)
    assert rank(runs, 0.46).hard_iou == 0.46


def test_of_several_runs_the_mean_counts():
    first = held_out({"road": 98.0, "pole": 40.0}, absent=("train", "bus"))
    second = held_out({"road": 96.0, "pole": 62.0, "bus": 30.0}, absent=("train",))
    ranking = rank([first, second])
    assert [(c.name, c.iou, c.mean, c.hard) for c in ranking.classes] == [
        ("bus", (None, 30.0), 30.0, True),
        ("pole", (40.0, 62.0), 51.0, False),
        ("road", (98.0, 96.0), 97.0, False),
    ]
    assert ranking.absent == ("train",)
    with pytest.raises(InputError, match="other_val"):
        rank([first, held_out({"road": 98.0}, data="other_val")])


def test_the_table():
    run = held_out({"road": 98.0, "pole": 12.345}, absent=("train", "bus"), notes=("Mind the gap.",))
    lines = ranking_table(rank([run])).splitlines()
    assert lines[0] == "a run"
    assert lines[2] == "1 of 2 classes are hard (IoU < 50 %) on streets_val"
    assert [line.split() for line in lines[5:7]] == [["pole", "*", "12.35"], ["road", "98.00"]]
    assert lines[7:] == ["absent from the ground truth, never hard: train, bus", "Mind the gap."]
    several = ranking_table(rank([run, held_out({"road": 96.0})])).splitlines()
    assert several[:2] == ["run 1: a run", "run 2: a run"] and several[3].endswith("mean of 2 runs")
    pole, road = (line.split() for line in several[6:8])
    assert pole == ["pole", "*", "12.35", "-", "12.35"] and road == ["road", "98.00", "96.00", "97.00"]


def test_a_run_is_read_at_its_best_or_last_validation(tmp_path, tiny_card):
    lines = validated(9, 60.0, IOU), validated(19, 70.0, IOU | {"grey": 50.1}), {"iteration": 24, "total_loss": 1.0}
    folder = write_run(tmp_path / "run", *lines, validated(29, 70.0, IOU | {"grey": 3.0}), hard_iou=0.7)
    best, last = read_held_out(folder), read_held_out(folder / "metrics.json", "last")
    assert best.iou == {"dark": 90.0, "grey": 50.1} and "iteration 20" in best.source
    assert last.iou == {"dark": 90.0, "grey": 3.0} and "iteration 30" in last.source
    assert best.absent == last.absent == ("bright",)
    assert (best.data, best.hard_iou, best.notes) == ("tiny_val", 0.7, ())


def test_the_image_level_tells_the_hard_classes(tmp_path, tiny_card):
    both = validated(9, 60.0, IOU) | validated(9, 50.0, IOU | {"grey": 30.0}, level="sem_seg_image_level")
    folder = write_run(tmp_path / "run", both)
    assert read_held_out(folder).iou["grey"] == 30.0
    path = write_evaluation(folder, "tiny_val", IOU | {"grey": 31.0}, level="sem_seg_image_level")
    assert read_held_out(path).iou["grey"] == 31.0


def test_of_a_run_with_stages_the_image_level_is_read(tmp_path, tiny_card):
    folder = write_run(tmp_path / "run", hard_iou=0.7)
    (folder / "metrics.json").unlink()
    for stage, grey in (("image", 40.0), ("region", 60.0)):
        (folder / "stages" / stage).mkdir(parents=True)
        line = validated(9, 60.0, IOU | {"grey": grey})
        (folder / "stages" / stage / "metrics.json").write_text(json.dumps(line) + "\n")
    for path in (folder, folder / "stages" / "image"):
        run = read_held_out(path)
        assert run.iou["grey"] == 40.0 and run.hard_iou == 0.7 and run.data == "tiny_val"
        assert "stages/image/metrics.json" in run.source
    with pytest.raises(InputError, match=r"region: hard classes are the image level's; .*run"):
        read_held_out(folder / "stages" / "region")


def test_a_held_out_share_of_the_training_images(tmp_path, tiny_card):
    folder = write_run(tmp_path / "run", validated(9, 60.0, IOU), VAL=[])
    run = read_held_out(folder)
    assert run.data == "a held-out share of tiny_train" and run.absent == ("bright",)
    write_run(folder, validated(9, 60.0, IOU), VAL=[], TEST=["tiny_train"])
    with pytest.raises(InputError, match=r"tiny_train.*never chosen on test images"):
        read_held_out(folder)


def test_an_evaluation_on_held_out_images(tmp_path):
    folder = write_run(tmp_path / "run", hard_iou=0.6)
    run = read_held_out(write_evaluation(folder, "tiny_val", IOU | {"bright": None}))
    assert (run.data, run.iou, run.absent, run.hard_iou) == ("tiny_val", IOU, ("bright",), 0.6)
    assert run.source.endswith("eval.json (iteration 400)")


@pytest.mark.parametrize("dataset, reason", [("tiny_test", "in DATASETS.TEST"), ("tiny_train", "not in DATASETS.VAL")])
def test_an_evaluation_on_other_images_is_refused(tmp_path, dataset, reason):
    path = write_evaluation(write_run(tmp_path / "run"), dataset, IOU)
    with pytest.raises(InputError, match=rf"eval\.json: {dataset} is {reason}"):
        read_held_out(path)


def test_test_images_are_refused_whatever_their_folder_is_called(tmp_path):
    path = write_evaluation(write_run(tmp_path / "run"), "tiny_val", IOU)
    path.write_text(path.read_text().replace("tiny_val", "tiny_test"))
    with pytest.raises(InputError, match=r"tiny_test is in DATASETS\.TEST"):
        read_held_out(path)


def test_a_test_set_that_is_held_out_as_well_is_ranked_and_noted(tmp_path, tiny_card):
    folder = write_run(tmp_path / "run", validated(9, 60.0, IOU), VAL=["tiny_test"])
    for path in (folder, write_evaluation(folder, "tiny_test", IOU)):
        run = read_held_out(path)
        assert run.iou == IOU and run.data == "tiny_test"
        assert run.notes == ("tiny_test is in DATASETS.TEST too: figures on it are no test figures",)


def test_without_a_configuration_an_evaluation_is_refused_and_a_run_is_not(tmp_path):
    folder = write_run(tmp_path / "run", validated(9, 60.0, IOU))
    path = write_evaluation(folder, "tiny_val", IOU)
    (folder / "config.yaml").unlink()
    with pytest.raises(InputError, match=r"tiny_val is a test set cannot be told without .*config\.yaml"):
        read_held_out(path)
    run = read_held_out(folder)
    assert run.iou == IOU and run.hard_iou is None and run.data == "held-out images"
    assert "not known" in run.notes[0]


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "junk.json").write_text("{}")
    for name, message in (("junk.json", "no run"), ("absent", "no run"), ("", "give the OUTPUT_DIR")):
        with pytest.raises(InputError, match=message):
            read_held_out(tmp_path / name)
    folder = write_run(tmp_path / "run", {"iteration": 9, "total_loss": 1.0})
    with pytest.raises(InputError, match=r"metrics\.json: no IoU on held-out images; .*DATASETS\.VAL"):
        read_held_out(folder)
    with pytest.raises(InputError, match="not an evaluation"):
        read_held_out(write_evaluation(folder, "tiny_val", IOU, results=None))
    with pytest.raises(InputError, match="no class has an IoU"):
        read_held_out(write_evaluation(folder, "tiny_val", {"dark": None}))


@pytest.fixture
def ranking():
    runs = [held_out({"road": iou, "$pole$ <1>": 12.3}, absent=("train",)) for iou in (100.0, 90.0)]
    return rank(runs)


def test_the_chart_as_svg(tmp_path, ranking):
    draw_ranking(ranking, tmp_path / "a.svg")
    text = "".join(ElementTree.parse(tmp_path / "a.svg").getroot().itertext())
    for said in ("road", "$pole$ <1>", "12.3", "95.0", "IoU, %", ranking.title, "absent, never hard: train"):
        assert said in text
    draw_ranking(ranking, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_the_chart_as_png(tmp_path, ranking):
    draw_ranking(ranking, tmp_path / "a.PNG")
    with Image.open(tmp_path / "a.PNG") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    for color in ((0xC2, 0x57, 0x0C), (0x24, 0x68, 0xC8)):
        assert (abs(pixels - color).max(axis=2) < 3).sum() > 1000, "a bar of a hard and one of an easy class"
    assert [file.name for file in tmp_path.iterdir()] == ["a.PNG"]


@pytest.mark.parametrize(
    "name, message", [("a.jpg", r"\.png or \.svg"), ("a", r"\.png or"), ("file/a.png", "name another")]
)
def test_charts_that_cannot_be_written(tmp_path, ranking, name, message):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=message):
        draw_ranking(ranking, tmp_path / name)
