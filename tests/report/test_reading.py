"""What is taken from metrics.json."""

import json

import pytest
from PIL import Image

from nightlab.report.reading import read_run


def lines(*entries):
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def test_repeated_iterations_void_the_earlier_attempt(tmp_path):
    # Trained to 40, resumed from the checkpoint at 20: the second attempt counts from there.
    first = [{"iteration": i, "total_loss": 1.0} for i in (9, 19, 29, 39)]
    second = [{"iteration": i, "total_loss": 2.0} for i in (29, 39)]
    (tmp_path / "metrics.json").write_text(lines(*first, *second))
    assert read_run(tmp_path).stages[0].series("total_loss") == ([10, 20, 30, 40], [1.0, 1.0, 2.0, 2.0])


def test_values_that_are_no_numbers_are_left_out(tmp_path):
    values = (float("nan"), float("inf"), "1", True, None, 2)
    (tmp_path / "metrics.json").write_text(lines(*({"iteration": i, "lr": lr} for i, lr in enumerate(values))))
    assert read_run(tmp_path).stages[0].series("lr") == ([6], [2.0])


def test_entries_of_one_iteration_are_one(tmp_path):
    (tmp_path / "metrics.json").write_text(lines({"iteration": 4, "lr": 1}, {"iteration": 4, "val/sem_seg/mIoU": 30}))
    run = read_run(tmp_path)
    assert run.history == [{"iteration": 4, "lr": 1, "val/sem_seg/mIoU": 30}]


def test_settings_by_their_dotted_names(tmp_path):
    (tmp_path / "config.yaml").write_text("SOLVER: {BASE_LR: 0.1}\nSEED: 3\n")
    run = read_run(tmp_path)
    assert (run.setting("SOLVER.BASE_LR"), run.setting("SEED")) == (0.1, 3)
    assert run.setting("SOLVER.NONE") is None and run.setting("SEED.X") is None


def write_stages(folder, *names, config):
    (folder / "config.yaml").write_text(config)
    for i, name in enumerate(names):
        (folder / "stages" / name).mkdir(parents=True)
        (folder / "stages" / name / "metrics.json").write_text(lines({"iteration": 9, "total_loss": float(i)}))


def test_stages_are_read_in_their_order(tmp_path):
    config = "MODEL: {REGION: {ENABLED: true}, HARDNESS: {LABELS: hdm}}\nSOLVER: {MAX_ITER: 10}\n"
    write_stages(tmp_path, "hdm", "image", "rdn", "region", config=config + "STAGES: {RDN: {MAX_ITER: 7}}\n")
    (tmp_path / "metrics.json").write_text(lines({"iteration": 1}))
    run = read_run(tmp_path)
    assert [stage.name for stage in run.stages] == ["image", "region", "rdn", "hdm"]
    assert run.history == [{"iteration": 9, "total_loss": 1.0}], "the image level's, not what lies in the folder"
    assert [run.planned_iterations(name) for name in ("image", "rdn")] == [10, 7]
    assert not any("metrics.json" in note for note in run.notes)


def test_an_image_level_trained_before_is_not_missing(tmp_path):
    config = "MODEL: {REGION: {ENABLED: true}, HARDNESS: {LABELS: rdn}}\nSTAGES: {IMAGE_LEVEL: their.pth}\n"
    write_stages(tmp_path, "region", config=config)
    run = read_run(tmp_path)
    assert [stage.name for stage in run.stages] == ["region"] and run.history == []
    (note,) = (note for note in run.notes if "metrics.json" in note)
    assert "RDN" in note and "Image" not in note and "Region" not in note


def test_stages_of_another_configuration_are_left_out(tmp_path):
    write_stages(tmp_path, "region", config="MODEL: {REGION: {ENABLED: false}}\n")
    (tmp_path / "metrics.json").write_text(lines({"iteration": 1}))
    assert [stage.name for stage in read_run(tmp_path).stages] == ["image"]


def test_stages_without_a_configuration(tmp_path):
    write_stages(tmp_path, "region", config="")
    (tmp_path / "config.yaml").unlink()
    assert [stage.name for stage in read_run(tmp_path).stages] == ["region"]


@pytest.mark.parametrize(
    "entry, said",
    [
        ({"mIoU": 41.25, "mIoU_image_level": 38.0}, "a: gain of 3.2 points, mIoU from 38.0 to 41.2 % (rank 1 of 9 by"),
        ({"mIoU": 30.0, "mIoU_image_level": 38.0}, "a: loss of 8.0 points"),
        ({"mIoU": 30.0}, "a: rank 1 of 9, mIoU 30.0 %"),
        ({"mIoU": "?", "mIoU_image_level": 38.0}, "a: rank 1 of 9"),
    ],
)
def test_captions_name_gain_and_loss(tmp_path, entry, said):
    folder = tmp_path / "pictures" / "streets"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "1_a.png")
    index = {"ranked": 9, "pictures": [{"file": "1_a.png", "image_id": "a", "rank": 1} | entry]}
    (folder / "index.json").write_text(json.dumps(index))
    (tmp_path / "config.yaml").write_text("{}")
    ((picture,),) = read_run(tmp_path).pictures.values()
    assert picture.caption.startswith(said)


@pytest.mark.parametrize(
    "entry, said",
    [
        (
            {"luminance": 28.2, "adapted_luminance": 4, "ssim": 0.761},
            "a: mean luminance from 28 to 4 of 255, SSIM 0.76",
        ),
        ({"luminance": "?"}, "a"),
    ],
)
def test_pictures_of_light_have_their_figures(tmp_path, entry, said):
    folder = tmp_path / "light" / "streets"
    folder.mkdir(parents=True)
    Image.new("RGB", (4, 4)).save(folder / "a.png")
    (folder / "index.json").write_text(json.dumps({"pictures": [{"file": "a.png", "image_id": "a"} | entry]}))
    (tmp_path / "config.yaml").write_text("{}")
    ((picture,),) = read_run(tmp_path).light.values()
    assert picture.caption == said


def test_a_stage_of_light_comes_first(tmp_path):
    write_stages(tmp_path, "light", "image", config="MODEL: {LIGHT: {NAME: relam, TRAIN: first}}\n")
    assert [stage.name for stage in read_run(tmp_path).stages] == ["light", "image"]


def test_a_stage_of_adaptation_comes_before_the_image_level(tmp_path):
    write_stages(tmp_path, "adapt", "image", config="MODEL: {ADAPT: {ENABLED: True}}\n")
    assert [stage.name for stage in read_run(tmp_path).stages] == ["adapt", "image"]
