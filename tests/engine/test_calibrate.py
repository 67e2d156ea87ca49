"""Fitting a calibration: on which images, what it does to predictions and checkpoints, and what is refused."""

import json

import pytest
import torch
from detectron2.modeling import build_model
from torch import nn

from nightlab.data import catalog
from nightlab.data.mapper import TestMapper
from nightlab.engine.calibrate import (
    fit,
    fit_file,
    fit_merge,
    fit_run,
    fits_merge,
    held_out_records,
    is_unfitted,
    warn_unfitted,
    with_and_without,
    write_calibrated,
)
from nightlab.engine.calibration_fit import _fit_bias
from nightlab.engine.calibration_sample import PIXELS, Sample, cross_fitted, sample_levels
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.modeling.calibration import UNCALIBRATED, reset


@pytest.fixture
def cfg(nano_cfg, tiny_card, tmp_path):
    nano_cfg.OUTPUT_DIR = str(tmp_path)
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.VAL = (f"{tiny_card}_train",), (f"{tiny_card}_val",)
    nano_cfg.DATASETS.TEST = (f"{tiny_card}_test",)
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    return nano_cfg


def add_regions(cfg):
    cfg.MODEL.REGION.ENABLED, cfg.MODEL.REGION.CROP_SIZE = True, [32, 32]
    cfg.MODEL.NIGHTLAB.REGIONS, cfg.MODEL.HARDNESS.LABELS = "grid", "rdn"
    return cfg


def lively(cfg):
    """A model of strong opinions, which are wrong."""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    levels = [model.image_level, *([model.region_level.segmentor] if model.region_level else [])]
    for level in levels:
        nn.init.normal_(level.decode_head.classifier.weight, std=3)
    if model.region_level:
        model.hard_class_mask[1] = model.region_level.used[1] = True
    return model


def test_overconfidence_is_found_and_predictions_stay(cfg):
    model = lively(cfg)
    given = TestMapper()(catalog.load(cfg.DATASETS.VAL)[0])
    with torch.no_grad():
        before = model([given])[0]["sem_seg"]
    document = fit(cfg, model)
    level = document["image_level"]
    assert document["images"] == 2 and set(document) == {"images", "class_bias", "image_level"}
    assert level["pixels"] == 2 * PIXELS and sum(level["bins"]["pixels"]) == 2 * PIXELS
    assert level["temperature"] == pytest.approx(float(model.image_temperature)) and level["temperature"] > 1.5
    assert level["NLL_after"] < level["NLL"] and level["ECE_after"] < level["ECE"]
    with torch.no_grad():
        assert torch.equal(model([given])[0]["sem_seg"], before), "the default leaves predictions as they are"
        model.calibrate = True
        after = model([given])[0]["sem_seg"]
    torch.testing.assert_close(after, (before / level["temperature"]).log_softmax(dim=0), rtol=1e-3, atol=1e-4)
    assert (after.argmax(dim=0) == before.argmax(dim=0)).float().mean() > 0.999
    assert fit(cfg, model) == document, "drawn by the seed, from predictions without the calibration that was there"


def test_both_levels_and_the_detector(cfg):
    model = lively(add_regions(cfg))
    document = fit(cfg, model)
    assert document["region_level"]["temperature"] == pytest.approx(float(model.region_temperature))
    assert document["region_level"]["temperature"] > 1.5
    assert document["detector"]["images"] == 2 and document["detector"]["slope"] > 0
    assert model.detector.platt.tolist() == pytest.approx([document["detector"][key] for key in ("slope", "offset")])
    found = with_and_without(cfg, model)
    assert len(found) == 4 and not model.calibrate
    plain, calibrated = (found[f"sem_seg_image_level, {way}"] for way in ("not calibrated", "calibrated"))
    assert calibrated["mIoU"] == pytest.approx(plain["mIoU"], abs=0.1) and calibrated["ECE"] < plain["ECE"]


@pytest.mark.parametrize("calibrate", [False, True])
def test_what_is_merged_is_fitted_where_it_is_asked_for(cfg, calibrate, caplog, monkeypatch):
    """Levels of strong opinions, which are wrong: whoever weighs them knows better than both."""
    monkeypatch.setattr("nightlab.engine.calibration_fit.cross_fitted", lambda *_: {"kept": True})
    cfg = add_regions(cfg)
    cfg.MODEL.NIGHTLAB.MERGE, cfg.MODEL.NIGHTLAB.CLASS_BIAS, cfg.MODEL.NIGHTLAB.CALIBRATE = "pooled", True, calibrate
    model = lively(cfg)
    caplog.set_level("INFO")
    warn_unfitted(cfg, model, "new.pth")
    assert "new.pth: MODEL.NIGHTLAB.MERGE pooled changes nothing" in caplog.text
    caplog.clear()
    fit(cfg, model)
    warn_unfitted(cfg, model, "new.pth")
    assert "changes nothing" not in caplog.text
    found = with_and_without(cfg, model)
    whole = model.class_bias.clone(), model.merge_pool.clone()
    reset(model)
    fit_merge(cfg, model)
    assert torch.equal(model.class_bias, whole[0]) and torch.equal(model.merge_pool, whole[1])
    assert model.pool is not None and torch.equal(model.pool, whole[1][int(calibrate)])
    assert not torch.equal(*model.merge_pool), "with temperatures and without"
    cfg.MODEL.NIGHTLAB.MERGE, cfg.MODEL.NIGHTLAB.CLASS_BIAS = "posterior", False
    plain = with_and_without(cfg, lively(cfg))
    assert found["sem_seg, not calibrated"]["ECE"] < plain["sem_seg, not calibrated"]["ECE"]
    reset(model)
    fit_merge(cfg, model)
    assert is_unfitted(model, "class_bias") and is_unfitted(model, "merge_pool")


@pytest.mark.parametrize("agree", [True, False])
def test_what_does_not_carry_over_is_not_kept(cfg, agree):
    """Two classes that look alike: one half of the images has more of the first, the other one as well, or not."""
    model = lively(cfg)
    target, later = torch.tensor([0, 0, 0, 1, 2] * 8), torch.arange(40) >= 20
    if not agree:
        target[later] = torch.tensor([1, 1, 1, 0, 2] * 4)
    values = torch.tensor([0.39, 0.41, 0.2]).log().repeat(40, 1)
    values[target == 2, 2] += 5
    document = _fit_bias(model, {"image_level": Sample(values.log_softmax(1), target, later)})["class_bias"]
    gains = [after > before for before, after in zip(document["mIoU"], document["mIoU_after"], strict=True)]
    assert document["kept"] == agree == all(gains)
    assert is_unfitted(model, "class_bias") != agree


def test_what_helps_one_half_and_hurts_the_other_is_not_kept():
    values, later = torch.eye(3).repeat(20, 1), torch.arange(60) >= 30
    target = values.argmax(dim=1)
    wrong = values.roll(1, dims=1)
    before = Sample(torch.where(later[:, None], wrong, values), target, later)
    document = cross_fitted("it", before, lambda _, of: values[of] if later[of].all() else wrong[of])
    assert document["mIoU"] == [100, 0] and document["mIoU_after"] == [0, 100] and not document["kept"]


def test_a_single_image_tells_of_no_other(cfg):
    sample = Sample(torch.zeros(4, 3), torch.tensor([0, 0, 1, 2]), torch.ones(4, dtype=torch.bool))
    assert _fit_bias(lively(cfg), {"image_level": sample}) == {"class_bias": {"pixels": 4, "kept": False}}


def test_without_held_out_images_both_levels_are_merged_by_their_posteriors(cfg, caplog):
    cfg = add_regions(cfg)
    model = lively(cfg)
    assert fits_merge(cfg), "the default"
    cfg.TEST.CALIBRATION_IMAGES = 0
    with caplog.at_level("INFO"):
        fit_merge(cfg, model)
    assert "merged by their posteriors" in caplog.text and is_unfitted(model, "merge_pool")
    given = TestMapper()(catalog.load(cfg.DATASETS.VAL)[0])
    with torch.no_grad():
        pooled = model([given])[0]["sem_seg"]
        assert model.rule_in_force == "posterior" and model.merge_rule == "pooled"
        model.merge_rule = "posterior"
        assert torch.equal(pooled, model([given])[0]["sem_seg"])
    cfg.MODEL.NIGHTLAB.CLASS_BIAS = True
    with pytest.raises(InputError, match=r"^TEST\.CALIBRATION_IMAGES: MODEL\.NIGHTLAB\.MERGE pooled and CLASS_BIAS"):
        fits_merge(cfg)


def test_targets_of_the_region_level_are_its_outputs(cfg):
    model = lively(add_regions(cfg))
    model.source = "grid"
    samples = sample_levels(model, catalog.load(cfg.DATASETS.VAL), seed=1)
    assert samples["image_level"].target.unique().tolist() == [0, 1, 2]
    assert samples["region_level"].target.unique().tolist() == [1, 3], "the hard class and other"
    assert samples["region_level"].log_probabilities.shape[1] == 4
    model.source = "none"
    assert set(sample_levels(model, catalog.load(cfg.DATASETS.VAL), seed=1)) == {"image_level"}


def test_what_hdm_learned_gain_on_does_not_fit_its_score(cfg):
    cfg.MODEL.HARDNESS.LABELS = "hdm"
    cfg.DATASETS.VAL = cfg.DATASETS.TRAIN
    images, check = held_out_records(cfg)
    assert len(images) == 4 and len(check) == 1
    cfg.TEST.CALIBRATION_IMAGES = 2
    assert len(held_out_records(cfg)[0]) == 2


@pytest.mark.parametrize("val", ["VAL", "TRAIN"])
def test_test_images_are_refused(cfg, val, tmp_path):
    cfg.DATASETS.TEST = cfg.DATASETS[val]
    cfg.DATASETS.VAL = cfg.DATASETS.VAL if val == "VAL" else ()
    with pytest.raises(InputError, match=r"tiny_\w+ is in DATASETS\.TEST too; .* another set in DATASETS\.VAL"):
        held_out_records(cfg)
    assert fit_run(cfg, None, {"best": tmp_path / "model_best.pth"}) == {}, "a run goes on without"


def test_nothing_held_out(cfg):
    cfg.DATASETS.VAL, cfg.DATASETS.VAL_FRACTION = (), 0.0
    with pytest.raises(InputError, match="nothing is held out"):
        held_out_records(cfg)


def test_a_checkpoint_gets_its_calibration_and_keeps_the_rest(cfg, tmp_path):
    model = lively(cfg)
    plain = {name: value for name, value in model.state_dict().items() if name not in UNCALIBRATED}
    torch.save({"model": plain, "iteration": 7, "optimizer": {"lr": 0.5}}, tmp_path / "old.pth")
    document = fit_file(cfg, model, tmp_path / "old.pth", tmp_path / "new.pth")
    new = torch.load(tmp_path / "new.pth", weights_only=True)
    assert new["iteration"] == 7 and new["optimizer"] == {"lr": 0.5}
    assert all(torch.equal(new["model"][name], value) for name, value in plain.items())
    other = build_model(cfg)
    NightLabCheckpointer(other).load(str(tmp_path / "new.pth"))
    assert float(other.image_temperature) == pytest.approx(document["image_level"]["temperature"])
    # A checkpoint from before there was a calibration takes back what another one brought.
    NightLabCheckpointer(other).load(str(tmp_path / "old.pth"))
    assert other.image_temperature == other.region_temperature == 1
    with pytest.raises(InputError, match=r"new\.bin: name a file that ends in \.pth"):
        fit_file(cfg, model, tmp_path / "old.pth", tmp_path / "new.bin")


def test_equal_checkpoints_of_a_run_are_fitted_once(cfg, tmp_path, monkeypatch):
    model = lively(cfg)
    paths = {kind: tmp_path / f"model_{kind}.pth" for kind in ("best", "last")}
    for path in paths.values():
        torch.save({"model": model.state_dict(), "iteration": 3}, path)
    seen = []
    monkeypatch.setattr("nightlab.engine.calibrate.fit", lambda *given: seen.append(given) or fit(*given))
    documents = fit_run(cfg, model, paths)
    assert len(seen) == 1 and documents["best"] == documents["last"]
    assert json.loads((tmp_path / "calibration.json").read_text()) == documents
    held = [torch.load(path, weights_only=True)["model"]["image_temperature"] for path in paths.values()]
    assert held[0] == held[1] != 1
    paths["best"].write_bytes(paths["best"].read_bytes()[:-100])
    assert set(fit_run(cfg, model, paths)) == {"last"}, "a damaged one gives way"
    cfg.TEST.CALIBRATION_IMAGES = 0
    assert fit_run(cfg, model, paths) == {}


def test_a_full_disk_leaves_the_checkpoint_as_it_was(tmp_path):
    """A limit on the size of files stands in for the disk."""
    resource = pytest.importorskip("resource")
    model, path = nn.Linear(40, 40), tmp_path / "model.pth"
    torch.save({"model": model.state_dict(), "iteration": 3}, path)
    content = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(InputError, match=r"model\.pth: cannot be written \(.*make room"):
            write_calibrated(model, path, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == content and list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match=r"Parent directory .* make room, or name another file"):
        write_calibrated(model, path, tmp_path / "none" / "model.pth")
