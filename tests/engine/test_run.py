"""A short training end to end: figures, checkpoints, exact resume, evaluation only, and errors before training."""

import errno
import json
import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from PIL import Image

from nightlab.engine.run import begin, configured, run, setup
from nightlab.engine.trainer import NightLabTrainer
from nightlab.errors import InputError

TINY = """
_BASE_: "{base}"
MODEL:
  DEVICE: cpu
  SEM_SEG_HEAD: {{CONVS_DIM: 16, NUM_CLASSES: 3}}
  AUX_HEAD: {{CONVS_DIM: 8}}
DATASETS:
  TRAIN: ("{train}",)
  VAL: ("{val}",)
  TEST: ("{test}",)
INPUT: {{IMAGE_SIZE: [48, 96], CROP_SIZE: [32, 64]}}
SOLVER: {{IMS_PER_BATCH: 2, MAX_ITER: 4, WARMUP_ITERS: 1, CHECKPOINT_PERIOD: 2, LOG_PERIOD: 1, BASE_LR: 0.001}}
TEST: {{EVAL_PERIOD: 2, PICTURES: 1}}
DATALOADER: {{NUM_WORKERS: 0}}
OUTPUT_DIR: "{output}"
VERSION: 2
"""


def arguments(config, *opts, **changes):
    given = {"config_file": str(config), "opts": list(opts), "eval_only": False, "resume": False, "stage": "all"}
    return Namespace(**(given | changes))


@pytest.fixture
def config(tmp_path, tiny_card, repository):
    path = tmp_path / "tiny.yaml"
    names = {split: f"{tiny_card}_{split}" for split in ("train", "val", "test")}
    path.write_text(TINY.format(base=repository / "configs/backbones/swin_nano.yaml", output=tmp_path / "out", **names))
    return path


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def test_train_resume_and_evaluate(config, tmp_path):
    out = tmp_path / "out"
    results = run(arguments(config))
    assert set(results) == {"best", "last"}
    evaluation = json.loads((out / "evaluation" / "tiny_test" / "last.json").read_text())
    assert evaluation["iteration"] == 3 and evaluation["images"] == 2
    assert evaluation["results"]["sem_seg"]["mIoU"] == pytest.approx(
        results["last"]["tiny_test"]["sem_seg"]["mIoU"], abs=1e-3
    )
    fitted = json.loads((out / "calibration.json").read_text())["last"]["image_level"]
    assert weights(out / "model_final.pth")["image_temperature"].item() == pytest.approx(fitted["temperature"])
    assert (out / "report.html").is_file() and list((out / "pictures").rglob("*.png"))
    log = (out / "log.txt").read_text()
    assert "class (* hard)" in log and "mIoU" in log, "the figures are printed as a table"
    assert (out / "last_checkpoint").read_text() == "model_final.pth"

    # Interrupted after two steps and resumed: the same weights, bit for bit.
    whole = weights(out / "model_final.pth")
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    (resumed / "model_0000001.pth").write_bytes((out / "model_0000001.pth").read_bytes())
    (resumed / "last_checkpoint").write_text("model_0000001.pth")
    run(arguments(config, "OUTPUT_DIR", str(resumed), resume=True))
    again = weights(resumed / "model_final.pth")
    assert all(torch.equal(whole[key], again[key]) for key in whole)

    # Of the finished run --resume trains nothing, and makes again what the report says.
    made = {
        name: json.loads((out / name).read_text()) for name in ("calibration.json", "evaluation/tiny_test/last.json")
    }
    for name in (*made, "cost.json", "report.html"):
        (out / name).unlink()
    run(arguments(out / "config.yaml", "OUTPUT_DIR", str(out), resume=True))
    assert {name: json.loads((out / name).read_text()) for name in made} == made
    assert (out / "cost.json").is_file() and (out / "report.html").is_file()
    assert all(torch.equal(value, whole[key]) for key, value in weights(out / "model_final.pth").items())

    # Evaluation alone gives the same figures, and the run stays described as it was trained.
    trained = (out / "config.yaml").read_text()
    opts = ("MODEL.WEIGHTS", str(out / "model_final.pth"), "TEST.PREDICTIONS", "True")
    alone = run(arguments(out / "config.yaml", *opts, eval_only=True))
    assert alone["tiny_test"]["sem_seg"] == pytest.approx(results["last"]["tiny_test"]["sem_seg"], nan_ok=True)
    assert (out / "config.yaml").read_text() == trained and "model_final.pth" in (out / "config_eval.yaml").read_text()
    predictions = out / "evaluation" / "tiny_test" / "predictions"
    assert len(list(predictions.glob("eval/*.png"))) == 2 and not (predictions / "last").exists(), "on request"


def test_a_run_goes_on_with_the_learning_rate_of_its_configuration(config):
    """Which is what it is told to change when its loss is no number; unchanged, no bit differs."""
    trainer = NightLabTrainer(setup(arguments(config, "SOLVER.CHECKPOINT_PERIOD", "1", "TEST.EVAL_PERIOD", "0")))
    trainer.resume_or_load(False)
    trainer.train()
    (Path(trainer.cfg.OUTPUT_DIR) / "last_checkpoint").write_text("model_0000002.pth")
    rates = []
    for factor in (1, 0.5):
        resumed = NightLabTrainer(setup(arguments(config, "SOLVER.BASE_LR", str(0.001 * factor), resume=True)))
        resumed.resume_or_load(True)
        assert resumed.start_iter == 3
        rates.append([(group["initial_lr"], group["lr"]) for group in resumed.optimizer.param_groups])
        assert resumed.scheduler.get_lr() == [now for _, now in rates[-1]]
    saved = torch.load(Path(trainer.cfg.OUTPUT_DIR, "model_0000002.pth"), weights_only=True)["trainer"]
    assert [group["lr"] for group in saved["_trainer"]["optimizer"]["param_groups"]] == [now for _, now in rates[0]]
    assert rates[1] == [(base / 2, now / 2) for base, now in rates[0]] and rates[0][0][1] > 0


def test_held_out_images_that_were_trained_on_are_told(config, caplog):
    """As where images were added to a set of which a share is held out, and the run is resumed; and so is what has
    changed in its settings."""
    trainer = NightLabTrainer(setup(arguments(config, "SOLVER.MAX_ITER", "1", "TEST.EVAL_PERIOD", "0")))
    trainer.resume_or_load(False)
    assert "were trained on" not in caplog.text and "settings have changed" not in caplog.text
    trainer.checkpointer.save("model_0000000", iteration=0)
    changed = ("DATASETS.TRAIN", "('tiny_val',)", "DATASETS.VAL", "('tiny_train',)")
    cfg = setup(arguments(config, *changed, "MODEL.NIGHTLAB.HARD_IOU", "0.4", resume=True))
    for said in ("settings have changed", "HARD_IOU: 0.5 is now 0.4", "TRAIN: ['tiny_train'] is now ['tiny_val']"):
        assert said in caplog.text
    NightLabTrainer(cfg).resume_or_load(True)
    assert re.search(r"(\d+) of \1 held-out images, as .*, are among those .* were trained on", caplog.text)


@pytest.mark.parametrize("eval_only", [False, True])
def test_a_configuration_that_cannot_be_written_leaves_the_one_before(config, monkeypatch, eval_only):
    cfg = configured(arguments(config))
    folder = Path(cfg.OUTPUT_DIR)
    folder.mkdir()
    (folder / "config.yaml").write_text("VERSION: 2")

    def full(cfg, args):
        (folder / "config.yaml").write_text("")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("nightlab.engine.run.default_setup", full)
    with pytest.raises(OSError, match="No space"):
        begin(cfg, arguments(config, eval_only=eval_only))
    assert {file.name: file.read_text() for file in folder.glob("*.yaml")} == {"config.yaml": "VERSION: 2"}
    assert not list(folder.glob(".config*"))


def test_the_checkpoint_carries_the_hard_classes(config, tmp_path):
    trainer_results = run(arguments(config, "MODEL.NIGHTLAB.HARD_IOU", "1.1", "SOLVER.MAX_ITER", "2"))
    mask = weights(tmp_path / "out" / "model_final.pth")["hard_class_mask"]
    assert mask.tolist() == [True, True, True], "every class present in VAL is below an IoU of 110 %"
    assert trainer_results["last"]["tiny_test"]["sem_seg"]["mIoU-hard"] >= 0


def test_hard_classes_by_their_names_are_in_the_checkpoint_of_the_image_level(config):
    """So that figures of an image level alone are about the same classes, and later stages are told once."""
    trainer = NightLabTrainer(setup(arguments(config, "MODEL.NIGHTLAB.HARD_CLASSES", "['grey']")))
    with EventStorage():
        trainer.validate()
    assert trainer.model.hard_class_mask.tolist() == [False, True, False]


def test_classes_without_a_held_out_pixel_are_named_once(config, tmp_path, tiny_root):
    for path in (tiny_root / "labels").glob("b*.png"):
        Image.fromarray(np.minimum(np.array(Image.open(path)), 1)).save(path)
    trainer = NightLabTrainer(setup(arguments(config)))
    with EventStorage():
        for _ in range(2):
            figures = trainer.validate()["val"]["sem_seg"]
    assert "IoU-bright" not in figures and not trainer.model.hard_class_mask[2]
    assert (tmp_path / "out" / "log.txt").read_text().count("no pixel of bright in the held-out images") == 1


def test_faults_are_found_before_training(config, tmp_path, tiny_root):
    missing = tiny_root / "labels" / "a1.png"
    missing.unlink()
    with pytest.raises(InputError, match=r"a1\.png"):
        run(arguments(config))
    assert not (tmp_path / "out" / "metrics.json").exists()


@pytest.mark.parametrize(
    "opts, message",
    [
        (("DATASETS.TRAIN", "('tiny_trian',)"), "tiny_train"),
        (("MODEL.SEM_SEG_HEAD.NUM_CLASSES", "5"), "NUM_CLASSES 3"),
        (("MODEL.WEIGHTS", "absent.pth"), "absent.pth"),
        (("MODEL.TIMM.WEIGHTS", "absent.pth"), "absent.pth"),
        (("SOLVER.BASE_RL", "1"), "BASE_LR"),
    ],
)
def test_bad_settings_are_named_with_their_remedy(config, opts, message):
    with pytest.raises(InputError, match=message):
        run(arguments(config, *opts))


def test_a_name_that_does_not_exist_stops_an_evaluation_too(config):
    with pytest.raises(InputError, match=r"^MODEL\.HARDNESS\.BOXES: 'components' is not one of"):
        configured(arguments(config, "MODEL.HARDNESS.BOXES", "components", eval_only=True))


def test_a_file_that_turns_bad_is_named(config, tiny_root):
    for image in (tiny_root / "images").glob("a*.png"):
        image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(InputError, match=r"a\d\.png"):
        run(arguments(config))


def test_dropout_follows_from_the_iteration(config):
    cfg = setup(arguments(config))
    losses = []
    for _ in range(2):
        torch.manual_seed(0)
        trainer = NightLabTrainer(cfg)
        torch.rand(losses and 5 or 1)  # another history of the generator
        trainer.iter = 1
        with EventStorage():
            trainer.model.train()
            trainer.run_step()
        losses.append([p.sum().item() for p in trainer.model.parameters()])
    assert losses[0] == losses[1]
