"""The stage "adapt" from data to a checkpoint that the image level, and any other run, starts from."""

import pytest
import torch

from nightlab.config import load_config
from nightlab.engine.plan import stage_config, stages_of
from nightlab.engine.run import run, setup
from nightlab.engine.stages import train_stages
from nightlab.engine.trainer import NightLabTrainer
from nightlab.errors import InputError

from .test_run import arguments, config, weights  # noqa: F401 (config is a fixture)

OPTS = (
    *("MODEL.ADAPT.ENABLED", "True", "MODEL.ADAPT.DISCRIMINATOR_CHANNELS", "8", "DATASETS.DAY", "('tiny_val',)"),
    *("STAGES.ADAPT.MAX_ITER", "3", "STAGES.ADAPT.BASE_LR", "0.001", "INPUT.CROP_SIZE", "[48, 96]"),
    *("TEST.PICTURES", "0", "TEST.CALIBRATION_IMAGES", "0"),
)


def test_adapt_resume_and_hand_over(config, tmp_path):  # noqa: F811
    out, resumed = tmp_path / "out", tmp_path / "resumed"
    results = run(arguments(config, *OPTS, stage="adapt"))
    metrics = (out / "stages" / "adapt" / "metrics.json").read_text()
    assert all(name in metrics for name in ("loss_sem_seg", "loss_adapt_fooling", "adapt/discriminator_accuracy"))
    assert not (out / "stages" / "image").exists()

    # Interrupted after two steps and resumed: the same weights and optimiser, bit for bit, the discriminator's too.
    folder = resumed / "stages" / "adapt"
    folder.mkdir(parents=True)
    (folder / "model_0000001.pth").write_bytes((out / "stages" / "adapt" / "model_0000001.pth").read_bytes())
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    train_stages(setup(arguments(config, *OPTS, "OUTPUT_DIR", str(resumed))), "adapt", resume=True)
    whole, again = (torch.load(f / "stages" / "adapt" / "model_final.pth", weights_only=True) for f in (out, resumed))
    assert any(key.startswith("adversary.") for key in whole["model"])
    assert all(torch.equal(value, again["model"][key]) for key, value in whole["model"].items())
    states = (found["trainer"]["_trainer"]["optimizer"]["state"].values() for found in (whole, again))
    assert all(torch.equal(a["exp_avg_sq"], b["exp_avg_sq"]) for a, b in zip(*states, strict=True))

    # The checkpoint is one of the image level for whoever knows nothing of the stage.
    plain = run(arguments(config, "MODEL.WEIGHTS", str(out / "model_final.pth"), eval_only=True))
    assert plain["tiny_test"]["sem_seg"] == pytest.approx(results["last"]["tiny_test"]["sem_seg"], nan_ok=True)

    # The image level starts from it: without a learning rate nothing but statistics changes.
    still = ("SOLVER.BASE_LR", "0.0", "SOLVER.MAX_ITER", "1")
    train_stages(setup(arguments(config, *OPTS, *still)), "image", resume=True)
    assert "stage adapt: finished before, skipped" in (out / "log.txt").read_text()
    best, image = weights(out / "stages" / "adapt" / "model_best.pth"), weights(out / "model_final.pth")
    assert not any(key.startswith("adversary.") for key in image)
    learned = [key for key in image if key.startswith("image_level.") and key.endswith(("weight", "bias"))]
    assert learned and all(torch.equal(image[key], best[key]) for key in learned)


def test_its_place_among_the_stages(config):  # noqa: F811
    light = ("MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.TRAIN", "first")
    assert stages_of(load_config(config, OPTS)) == ["adapt", "image"]
    assert stages_of(load_config(config, [*OPTS, *light])) == ["light", "adapt", "image"]
    assert stages_of(load_config(config)) == ["image"]
    with pytest.raises(InputError, match="--stage adapt: this configuration has only the stages light, image"):
        train_stages(load_config(config, light), "adapt")


def test_a_stage_begins_alike_whatever_its_process_did_before(config):  # noqa: F811
    """As one that was killed before its first checkpoint begins anew, in a process that trained no stage before it. The
    discriminator comes from no checkpoint."""
    cfg = stage_config(setup(arguments(config, *OPTS)), "adapt")
    first, _, second = (NightLabTrainer(cfg).model.state_dict(), torch.rand(7), NightLabTrainer(cfg).model.state_dict())
    assert all(torch.equal(value, second[key]) for key, value in first.items())
