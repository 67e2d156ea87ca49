"""All stages in one command: order, hand-over, resuming, and what happens where there is nothing hard."""

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.modeling import build_model
from PIL import Image

from nightlab.config import load_config
from nightlab.data.held_out import share_held_out, split_records
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.engine.gains import full_gain
from nightlab.engine.plan import stage_config, stages_of
from nightlab.engine.run import check_hard_classes, run, setup
from nightlab.engine.stages import _finish, _put_aside, check_hard, hard_classes
from nightlab.engine.trainer import NightLabTrainer
from nightlab.errors import InputError
from nightlab.evaluation.region_table import read_study
from nightlab.modeling.calibration import UNCALIBRATED, uncalibrated
from nightlab.modeling.hardness import DOUBT_WEIGHT

from .test_run import arguments, config, weights  # noqa: F401 (config is a fixture)

DUAL = """
_BASE_: "{base}"
MODEL:
  NIGHTLAB: {{HARD_CLASSES: ["dark", "grey"], MAX_REGIONS: 3}}
  REGION: {{ENABLED: True, CROP_SIZE: [32, 32], MIN_AREA: 4}}
  HARDNESS: {{LABELS: hdm, CONVS_DIM: 32, CANDIDATES: 9}}
  ANCHOR_GENERATOR: {{SIZES: [[32]]}}
STAGES:
  REGION: {{MAX_ITER: 2}}
  RDN: {{MAX_ITER: 2}}
  HDM: {{MAX_ITER: 3}}
"""


@pytest.fixture
def dual(config, tmp_path):  # noqa: F811
    path = tmp_path / "dual.yaml"
    path.write_text(DUAL.format(base=config))
    return path


def changed(first, second):
    """Top-level parts in which two state dicts differ."""
    return {key.split(".")[0] for key in first if not torch.equal(first[key], second[key])}


def test_one_command_goes_from_data_to_hdm_and_resumes(dual, tmp_path, load_tool):
    out = tmp_path / "out"
    results = run(arguments(dual))
    assert set(results["last"]["tiny_test"]) == {"sem_seg", "sem_seg_image_level"}
    stages = {name: weights(out / "stages" / name / "model_final.pth") for name in ("image", "region", "rdn", "hdm")}
    best = weights(out / "stages" / "image" / "model_best.pth")
    assert changed(best, stages["region"]) <= {"region_level", "hard_class_mask"}
    assert changed(stages["rdn"], stages["hdm"]) - set(UNCALIBRATED) == {"detector"}
    final = torch.load(out / "model_final.pth", weights_only=True)
    assert set(final) == {"model", "iteration", "fitted"}
    differs = {key for key in final["model"] if not torch.equal(final["model"][key], stages["hdm"][key])}
    assert differs <= set(UNCALIBRATED), "what is fitted after all stages"
    assert not torch.equal(final["model"]["image_temperature"], stages["rdn"]["image_temperature"])
    assert final["model"]["hard_class_mask"].tolist() == [True, True, False]
    assert (out / "report.html").is_file()

    # The last file needs no further argument.
    alone = run(arguments(dual, "MODEL.WEIGHTS", str(out / "model_final.pth"), eval_only=True))
    figures = alone["tiny_test"]["sem_seg"]
    assert figures == pytest.approx(results["last"]["tiny_test"]["sem_seg"], nan_ok=True)
    document = json.loads((out / "evaluation" / "tiny_test" / "eval.json").read_text())
    assert set(document["results"]) == {"sem_seg", "sem_seg_image_level"}

    # What it is worth on images that nothing was fitted to.
    study = ["--config-file", str(dual), "--weights", str(out / "model_final.pth"), "--sources", "detector"]
    study += ["--held-out", "--scales", "--output", str(tmp_path / "study.json")]
    assert load_tool("study_regions").main(study) == 0
    cfg = load_config(dual)
    learned, left = share_held_out(cfg, split_records(cfg)[1])
    found = read_study(tmp_path / "study.json")
    assert len(learned) > 0 and found["image_ids"] == [record["image_id"] for record in left]

    # Interrupted in the last stage: finished stages are skipped, the last one goes on to the same weights.
    folder = out / "stages" / "hdm"
    for file in ("model_final.pth", "model_best.pth"):
        (folder / file).unlink()
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    untouched = (out / "stages" / "region" / "model_final.pth").stat().st_mtime_ns
    run(arguments(dual, resume=True))
    assert (out / "log.txt").read_text().count("finished before, skipped") == 3
    assert (out / "stages" / "region" / "model_final.pth").stat().st_mtime_ns == untouched
    assert not changed(weights(folder / "model_final.pth"), stages["hdm"])

    # Without the labels that it began with, it does not go on with others.
    (folder / "model_final.pth").unlink()
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    (folder / "gains.pt").write_bytes(b"torn")
    with pytest.raises(InputError, match=r"gains\.pt.*delete the stage's folder"):
        run(arguments(dual, resume=True))


def test_files_that_turn_bad_in_a_stage_do_not_end_the_run_at_the_next(dual, tmp_path, tiny_root, monkeypatch):
    """One image is gone, and the label map of another cut off, when the image level is trained."""
    card = tmp_path / "listed.yaml"
    splits = "splits: {train: {ids: [a0, a1, a2, a3]}, val: {ids: [b0, b1]}, test: {ids: [c0, c1]}}"
    paths = "root: tiny\nimages: images/{id}.png\nlabels: labels/{id}.png"
    card.write_text(f"name: listed\n{paths}\nclasses: [dark, grey, bright]\n{splits}\n")
    train = NightLabTrainer.train

    def trained(self):
        train(self)
        (tiny_root / "images" / "a1.png").unlink(missing_ok=True)
        (tiny_root / "labels" / "a0.png").write_bytes(b"\x89PNG")

    monkeypatch.setattr(NightLabTrainer, "train", trained)
    names = [f"('listed_{split}',)" for split in ("train", "val", "test")]
    sets = [x for pair in zip(("DATASETS.TRAIN", "DATASETS.VAL", "DATASETS.TEST"), names, strict=True) for x in pair]
    results = run(arguments(dual, "DATASETS.CARDS", f"['{card}']", *sets, "MODEL.HARDNESS.LABELS", "rdn"))
    assert set(results["last"]["listed_test"]) == {"sem_seg", "sem_seg_image_level"}
    told = (tmp_path / "out" / "log.txt").read_text()
    assert "another image takes its place (bad file 2)" in told and "left out: " in told
    with pytest.raises(InputError, match=r"1 file\(s\) missing: .*a1\.png"):
        run(arguments(dual, "DATASETS.CARDS", f"['{card}']", *sets, resume=True))


def test_single_stages_hand_over(dual, tmp_path):
    with pytest.raises(InputError, match="stage image has no finished checkpoint"):
        run(arguments(dual, stage="region"))
    run(arguments(dual, stage="image"))
    run(arguments(dual, stage="region"))
    assert not (tmp_path / "out" / "stages" / "rdn").exists()
    # Another detector than the one that the region level's checkpoint has, which nothing trained.
    run(arguments(dual, "MODEL.HARDNESS.CONVS_DIM", "64", stage="hardness"))
    final = weights(tmp_path / "out" / "model_final.pth")
    assert final["detector.rpn.rpn_head.objectness_logits.weight"].shape[1] == 64
    # A finished image level serves other runs.
    other = tmp_path / "other"
    image_level = tmp_path / "out" / "stages" / "image" / "model_best.pth"
    run(arguments(dual, "OUTPUT_DIR", str(other), "STAGES.IMAGE_LEVEL", str(image_level)))
    assert not (other / "stages" / "image").exists() and (other / "model_final.pth").is_file()


def test_the_checkpoint_of_an_image_level_alone_starts_the_others(dual, config, tmp_path):  # noqa: F811
    run(arguments(config, "OUTPUT_DIR", str(tmp_path / "alone")))
    start = tmp_path / "alone" / "model_final.pth"
    run(arguments(dual, "STAGES.IMAGE_LEVEL", str(start), stage="region"))
    before, after = weights(start), weights(tmp_path / "out" / "model_final.pth")
    assert all(torch.equal(before[key], after[key]) for key in before if key.startswith("image_level."))


def test_hdm_goes_on_from_a_model_with_rdn(dual, tmp_path):
    """Studies have both, upon the same levels; nothing but HDM is trained the second time."""
    rdn = tmp_path / "rdn"
    run(arguments(dual, "OUTPUT_DIR", str(rdn), "MODEL.HARDNESS.LABELS", "rdn"))
    given = str(rdn / "model_final.pth")
    run(arguments(dual, "STAGES.DETECTOR", given))
    assert [folder.name for folder in (tmp_path / "out" / "stages").iterdir()] == ["hdm"]
    before, after = weights(rdn / "model_final.pth"), weights(tmp_path / "out" / "model_final.pth")
    assert changed(before, after) - set(UNCALIBRATED) == {"detector"}
    alone = {key: value for key, value in before.items() if key.startswith(("image_", "hard_"))}
    torch.save({"model": alone}, tmp_path / "image.pth")
    with pytest.raises(InputError, match=r"image\.pth: made for another model: .* region_level"):
        run(arguments(dual, "STAGES.DETECTOR", str(tmp_path / "image.pth")))


def test_hdm_starts_from_doubt_and_rdn_does_not(dual, tmp_path):
    """Also from an RDN of a model that knows of none."""
    run(arguments(dual, "MODEL.HARDNESS.LABELS", "rdn", "OUTPUT_DIR", str(tmp_path / "rdn")))
    rdn = weights(tmp_path / "rdn" / "model_final.pth")
    opts = ("MODEL.HARDNESS.DOUBT", "True", "MODEL.HARDNESS.GRADED", "True")
    run(arguments(dual, *opts, "STAGES.DETECTOR", str(tmp_path / "rdn" / "model_final.pth")))
    hdm = weights(tmp_path / "out" / "stages" / "hdm" / "model_final.pth")
    assert DOUBT_WEIGHT not in rdn and hdm[DOUBT_WEIGHT] == 1
    assert hdm["detector.rpn.rpn_head.objectness_logits.weight"].abs().max() > 0
    run(arguments(dual, *opts, "OUTPUT_DIR", str(tmp_path / "whole")))
    assert weights(tmp_path / "whole" / "stages" / "rdn" / "model_final.pth")[DOUBT_WEIGHT] == 0


def test_a_full_gain_is_what_nine_in_ten_stay_below():
    gains = {"a": torch.linspace(0.01, 0.1, 10), "b": torch.linspace(-1, 0, 50), "c": torch.zeros(0)}
    measured = {name: (torch.zeros(len(gain), 4), gain, torch.tensor([8, 8])) for name, gain in gains.items()}
    assert full_gain(measured) == pytest.approx(0.091)
    assert full_gain({"b": measured["b"], "c": measured["c"]}) == full_gain({}) == 1


def test_hdm_learns_the_gain_of_what_is_merged(dual, tmp_path, monkeypatch):
    """The pool of both levels is fitted before gain is measured, and again when HDM has learned it."""
    monkeypatch.setattr("nightlab.engine.calibration_fit.cross_fitted", lambda *_: {"kept": True})
    run(arguments(dual))
    rdn, hdm = (weights(tmp_path / "out" / "stages" / stage / "model_final.pth") for stage in ("rdn", "hdm"))
    neutral = uncalibrated("merge_pool", rdn["merge_pool"])
    assert torch.equal(rdn["merge_pool"], neutral) and not torch.equal(hdm["merge_pool"], neutral)
    done = weights(tmp_path / "out" / "model_final.pth")["merge_pool"]
    assert not torch.equal(done, neutral) and torch.isfinite(done).all()


def test_hdm_learns_no_gain_on_images_that_a_level_was_fitted_to(dual, config, tiny_card, tmp_path):  # noqa: F811
    alone, swapped = str(tmp_path / "alone" / "model_final.pth"), ["DATASETS.TRAIN", f"('{tiny_card}_val',)"]
    swapped += ["DATASETS.VAL", f"('{tiny_card}_train',)"]
    run(arguments(config, "OUTPUT_DIR", str(tmp_path / "alone"), *swapped))
    reason = r"^DATASETS\.VAL: HDM learns gain on images that no level was fitted to, and \d+ of \d+ held-out"
    trained_on = str(tmp_path / "on" / "model_final.pth")  # from there, by the split that is asked for below
    run(arguments(config, "OUTPUT_DIR", str(tmp_path / "on"), "MODEL.WEIGHTS", alone))
    for given in (alone, trained_on):
        with pytest.raises(InputError, match=reason):
            run(arguments(dual, "STAGES.IMAGE_LEVEL", given))
        assert not list((tmp_path / "out" / "stages").rglob("model_*.pth")), "said before anything is trained"
    # RDN learns where hard regions are, and no gain; HDM does not go on from there by another split.
    run(arguments(dual, "MODEL.HARDNESS.LABELS", "rdn", "STAGES.IMAGE_LEVEL", alone, *swapped))
    with pytest.raises(InputError, match=reason):
        run(arguments(dual, "STAGES.IMAGE_LEVEL", alone, resume=True))


def test_nothing_hard_ends_as_image_level(dual, tmp_path, caplog):
    with caplog.at_level("WARNING", "nightlab"):
        results = run(
            arguments(
                dual, "MODEL.NIGHTLAB.HARD_CLASSES", "[]", "MODEL.NIGHTLAB.HARD_IOU", "0.0", "SOLVER.MAX_ITER", "2"
            )
        )
    assert "no class is hard" in caplog.text
    figures = results["last"]["tiny_test"]
    assert figures["sem_seg"] == pytest.approx(figures["sem_seg_image_level"], nan_ok=True)
    assert not (tmp_path / "out" / "stages" / "region").exists()


def test_hard_classes_are_named_and_trainable(dual, tmp_path, tiny_root, caplog):
    run(arguments(dual, stage="image"))
    checkpoint = str(tmp_path / "out" / "stages" / "image" / "model_best.pth")
    with pytest.raises(InputError, match="blue not among the classes dark, grey, bright"):
        run(arguments(dual, "MODEL.NIGHTLAB.HARD_CLASSES", "['blue']", stage="region"))
    for path in (tiny_root / "labels").glob("a*.png"):
        label = np.array(Image.open(path))
        Image.fromarray(np.where(label == 1, 2, label).astype(np.uint8)).save(path)
    with caplog.at_level("WARNING", "nightlab"):
        assert hard_classes(setup(arguments(dual)), checkpoint) == [True, False, False]
    assert "never in the training labels, so not hard: grey" in caplog.text
    torch.save({"model": {}}, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"other\.pth: does not say which classes are hard; name them"):
        hard_classes(setup(arguments(dual, "MODEL.NIGHTLAB.HARD_CLASSES", "[]")), str(tmp_path / "other.pth"))


def test_other_hard_classes_than_the_checkpoints_are_refused(dual, tmp_path):
    run(arguments(dual, "MODEL.HARDNESS.LABELS", "", "MODEL.NIGHTLAB.REGIONS", "grid"))
    final = str(tmp_path / "out" / "model_final.pth")
    opts = ("MODEL.HARDNESS.LABELS", "", "MODEL.NIGHTLAB.HARD_CLASSES", "['bright']", "MODEL.WEIGHTS", final)
    with pytest.raises(InputError, match=r"trained for dark, grey, and MODEL\.NIGHTLAB\.HARD_CLASSES names bright"):
        run(arguments(dual, *opts, eval_only=True))


def test_more_hard_classes_than_the_checkpoints_are_told(dual, caplog):
    model = Namespace(region_level=Namespace(all_classes=False, used=torch.tensor([True, True, False])))
    named = ["MODEL.NIGHTLAB.HARD_CLASSES", "['dark', 'grey', 'bright']"]
    with caplog.at_level("WARNING", "nightlab"):
        check_hard_classes(load_config(dual, named), model, "w.pth")
    assert "w.pth: its region level was not trained for bright of MODEL.NIGHTLAB.HARD_CLASSES" in caplog.text
    with pytest.raises(InputError, match="HARD_CLASSES: brihgt not among the classes dark, grey, bright"):
        check_hard_classes(load_config(dual, [named[0], "['dark', 'grey', 'brihgt']"]), model, "w.pth")


@pytest.mark.parametrize(
    "opts, message",
    [
        (("MODEL.REGION.ENABLED", "False"), "needs the region level"),
        (("MODEL.HARDNESS.BOXES", "component"), "component boxes are RDN's"),
        (
            ("MODEL.HARDNESS.DOUBT", "True", "MODEL.HARDNESS.FEATURES", "own"),
            "does not see what the image level doubts",
        ),
        (("MODEL.LIGHT.NAME", "relam"), r"DATASETS\.DAY"),
    ],
)
def test_settings_that_cannot_work(dual, opts, message):
    with pytest.raises(InputError, match=message):
        run(arguments(dual, *opts))


def test_light_comes_first_and_stays(config, tmp_path):  # noqa: F811
    """ReLAM in a stage of its own, then frozen under the segmentation; its checkpoint starts the image level."""
    opts = ("MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.TRAIN", "first", "MODEL.LIGHT.CHANNELS", "8", "DATASETS.DAY")
    opts = (*opts, "('tiny_val',)", "STAGES.LIGHT.MAX_ITER", "3")
    assert run(arguments(config, *opts, stage="light")) == {}, "nothing to evaluate yet"
    assert (
        list((tmp_path / "out" / "light" / "tiny_test").glob("*.png")) and (tmp_path / "out" / "report.html").is_file()
    )
    run(arguments(config, *opts, resume=True))
    assert "stage light: finished before" in (tmp_path / "out" / "log.txt").read_text()
    stages = tmp_path / "out" / "stages"
    light, image = weights(stages / "light" / "model_final.pth"), weights(stages / "image" / "model_final.pth")
    differs = {key for key in light if not torch.equal(light[key], image[key])}
    assert differs and not any(".light" in key for key in differs)
    assert light["image_level.light.generator.last.weight"].abs().sum() > 0, "it began as zero and has learned"
    whole = weights(tmp_path / "out" / "model_final.pth")
    assert all(torch.equal(whole[key], image[key]) for key in whole if key not in UNCALIBRATED)


def test_light_learns_beside_the_segmentation_and_resumes(config, tmp_path):  # noqa: F811
    """In steps of two batches, with activations computed a second time, which must resume exactly, too."""
    opts = ("MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.CHANNELS", "8", "DATASETS.DAY", "('tiny_val',)")
    opts += ("MODEL.LIGHT.TRAIN", "joint", "SOLVER.ACCUMULATE", "2", "MODEL.TIMM.CHECKPOINT_ACTIVATIONS", "True")
    opts += ("MODEL.SEM_SEG_HEAD.CHECKPOINT_ACTIVATIONS", "True")
    run(arguments(config, *opts))
    out, resumed = tmp_path / "out", tmp_path / "resumed"
    metrics = (out / "metrics.json").read_text()
    assert "loss_light_ssim" in metrics and "light/discriminator_accuracy" in metrics
    resumed.mkdir()
    (resumed / "model_0000001.pth").write_bytes((out / "model_0000001.pth").read_bytes())
    (resumed / "last_checkpoint").write_text("model_0000001.pth")
    run(arguments(config, *opts, "OUTPUT_DIR", str(resumed), resume=True))
    assert not changed(weights(out / "model_final.pth"), weights(resumed / "model_final.pth"))


def test_every_stage_has_its_schedule(dual):
    cfg = load_config(dual, ["STAGES.HDM.BASE_LR", "0.5", "MODEL.WEIGHTS", "start.pth"])
    assert stages_of(cfg) == ["image", "region", "rdn", "hdm"]
    region, hdm = stage_config(cfg, "region"), stage_config(cfg, "hdm")
    assert (region.SOLVER.MAX_ITER, hdm.SOLVER.MAX_ITER) == (2, 3)
    assert (region.SOLVER.BASE_LR, hdm.SOLVER.BASE_LR) == (0.001, 0.5)
    assert stage_config(cfg, "image").MODEL.WEIGHTS == "start.pth" and region.MODEL.WEIGHTS == ""


def test_what_an_earlier_run_left_does_not_count_as_finished(dual, tmp_path, caplog):
    run(arguments(dual))
    stages = tmp_path / "out" / "stages"
    first = weights(stages / "hdm" / "model_final.pth")
    with caplog.at_level("WARNING", "nightlab"):
        run(arguments(dual, "SOLVER.BASE_LR", "0.01", stage="image"))
    assert "the checkpoints of an earlier run are moved to" in caplog.text
    earlier = weights(stages / "hdm" / "earlier" / "model_final.pth")
    assert not changed(first, earlier) and not (stages / "hdm" / "last_checkpoint").exists()
    run(arguments(dual, "SOLVER.BASE_LR", "0.01", resume=True))
    new, image = weights(stages / "hdm" / "model_final.pth"), weights(stages / "image" / "model_best.pth")
    assert {"image_level", "region_level", "detector"} <= changed(first, new)
    assert not {key for key in image if key.startswith("image_level.") and not torch.equal(image[key], new[key])}


def test_a_run_that_is_killed_while_it_moves_checkpoints_does_not_go_on_with_the_rest(tmp_path, monkeypatch):
    names = ["last_checkpoint", "model_0000001.pth", "model_final.pth"]
    for name in names:
        (tmp_path / name).write_text("model_final.pth")
    moved, rename = [], Path.rename

    def killed(self, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(self.name)
        return rename(self, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        _put_aside([tmp_path])
    assert not DetectionCheckpointer(torch.nn.Linear(1, 1), str(tmp_path)).has_checkpoint()
    _put_aside([tmp_path])
    assert sorted(file.name for file in (tmp_path / "earlier").iterdir()) == names, "none is lost"


def test_the_best_checkpoint_of_an_earlier_run_does_not_stand_in_for_one_that_has_none(dual, tmp_path):
    out = tmp_path / "out"
    opts = ["MODEL.HARDNESS.LABELS", "", "MODEL.NIGHTLAB.REGIONS", "grid"]
    run(arguments(dual, *opts))
    before = weights(out / "model_best.pth")
    nothing = ["DATASETS.VAL", "()", "DATASETS.VAL_FRACTION", "0.0", "SOLVER.BASE_LR", "0.01"]
    results = run(arguments(dual, *opts, *nothing))
    assert "best" not in results and not (out / "model_best.pth").exists()
    assert not changed(before, weights(out / "earlier" / "model_best.pth"))


def test_the_final_checkpoint_is_written_where_a_run_ended_just_before_it(config, tmp_path):  # noqa: F811
    given = ["SOLVER.MAX_ITER", "2", "SOLVER.CHECKPOINT_PERIOD", "1", "DATASETS.TEST", "()"]
    run(arguments(config, *given))
    final = tmp_path / "out" / "model_final.pth"
    before = weights(final)
    final.unlink()
    (tmp_path / "out" / "last_checkpoint").write_text("model_0000001.pth")
    run(arguments(config, *given, resume=True))
    assert not changed(before, weights(final)) and torch.load(final, weights_only=True)["iteration"] == 1


@pytest.mark.parametrize("wrapped", [True, False])
def test_what_ends_as_an_image_level_of_elsewhere_is_one_whole_checkpoint(dual, config, tmp_path, wrapped):  # noqa: F811
    """As where no class is hard, or with --stage image: what is evaluated next has both levels."""
    alone = build_model(load_config(config)).state_dict()
    torch.save({"model": alone} if wrapped else alone, tmp_path / "given.pth")
    cfg = load_config(dual, ["STAGES.IMAGE_LEVEL", str(tmp_path / "given.pth"), "OUTPUT_DIR", str(tmp_path)])
    _finish(cfg, "image")
    model = build_model(cfg).eval()
    NightLabCheckpointer(model).load(str(tmp_path / "model_final.pth"))
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in alone.items())
    with torch.no_grad(), model.returning(scores=True):
        (output,) = model([{"image": torch.full((3, 40, 72), 80.0)}])
    assert torch.equal(output["sem_seg"], output["sem_seg_image_level"]) and len(output["regions"]) == 0


def test_an_image_level_of_elsewhere_is_asked_what_is_hard(dual, config, tmp_path, caplog):  # noqa: F811
    run(arguments(config, "OUTPUT_DIR", str(tmp_path / "alone"), "DATASETS.TEST", "()"))
    given = tmp_path / "imported.pth"
    torch.save({k: v for k, v in weights(tmp_path / "alone" / "model_final.pth").items() if "hard" not in k}, given)
    opts = ["STAGES.IMAGE_LEVEL", str(given), "MODEL.NIGHTLAB.HARD_CLASSES", "[]", "MODEL.NIGHTLAB.HARD_IOU", "1.1"]
    with caplog.at_level("INFO", "nightlab"):
        run(arguments(dual, *opts, stage="region"))
    assert "names no hard class; it is evaluated on the held-out images" in caplog.text
    assert weights(tmp_path / "out" / "model_final.pth")["hard_class_mask"].all()


@pytest.mark.parametrize(
    "model, message",
    [
        ({"hard_class_mask": torch.ones(5, dtype=torch.bool)}, "which of 5 classes are hard, and this model has 3"),
        ({"hard_class_mask": [True]}, "hard_class_mask is a list and no tensor"),
        (torch.zeros(3), "holds no tensors by their names"),
    ],
)
def test_an_image_level_of_elsewhere_that_is_another_file(dual, tmp_path, model, message):
    path = str(tmp_path / "given.pth")
    torch.save({"model": model}, path)
    cfg = load_config(dual, ["STAGES.IMAGE_LEVEL", path, "MODEL.NIGHTLAB.HARD_CLASSES", "[]"])
    with pytest.raises(InputError, match=rf"given\.pth.*{message}"):
        hard_classes(cfg, path)


@pytest.mark.parametrize("classes", ["hard", "all"])
def test_a_region_level_of_hard_classes_where_all_are_asked_for(dual, classes):
    cfg = load_config(dual, ["MODEL.REGION.CLASSES", classes])
    model, hard = build_model(cfg), torch.tensor([True, True, False])
    for mask in (model.hard_class_mask, model.region_level.used):
        mask.copy_(hard)
    if classes == "all":
        with pytest.raises(InputError, match=r"trained with MODEL\.REGION\.CLASSES hard, and now it is all"):
            check_hard(cfg, model, hard.tolist())
        model.region_level.used.fill_(True)
    check_hard(cfg, model, hard.tolist())


def test_a_misspelt_hard_class_stops_before_the_first_stage(dual, tmp_path):
    with pytest.raises(InputError, match="HARD_CLASSES: drak not among the classes dark, grey, bright"):
        run(arguments(dual, "MODEL.NIGHTLAB.HARD_CLASSES", "['drak']"))
    assert not (tmp_path / "out" / "stages").exists()


def test_other_hard_classes_than_those_of_the_region_level(dual, tmp_path):
    run(arguments(dual, stage="image"))
    run(arguments(dual, stage="region"))
    other = ["MODEL.NIGHTLAB.HARD_CLASSES", "['dark']"]
    with pytest.raises(InputError, match="the region level was trained for the hard classes dark, grey, and now"):
        run(arguments(dual, *other, stage="hardness"))
    folder = tmp_path / "out" / "stages" / "region"
    for file in ("model_final.pth", "model_best.pth"):
        (folder / file).unlink()
    with pytest.raises(InputError, match="this stage began with the hard classes dark, grey"):
        run(arguments(dual, *other, "STAGES.REGION.MAX_ITER", "3", stage="region", resume=True))


def test_an_unknown_optimizer_of_the_last_stage_stops_before_the_first(dual, tmp_path):
    with pytest.raises(InputError, match="'Adam', of stage hdm, is not one of AdamW, SGD"):
        run(arguments(dual, "STAGES.HDM.OPTIMIZER", "Adam"))
    assert not (tmp_path / "out" / "stages").exists()
