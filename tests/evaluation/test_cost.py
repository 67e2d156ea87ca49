"""What a frame costs: which frames are timed, and by which components."""

import json

import pytest
from detectron2.modeling import build_model

from nightlab.evaluation.cost import write_cost


@pytest.fixture
def cfg(nano_cfg, tiny_card, tmp_path):
    nano_cfg.OUTPUT_DIR, nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = str(tmp_path), 3
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.VAL = (f"{tiny_card}_train",), (f"{tiny_card}_val",)
    nano_cfg.DATASETS.TEST = (f"{tiny_card}_test",)
    return nano_cfg


def test_components_of_both_levels(cfg, tmp_path):
    cfg.MODEL.REGION.ENABLED, cfg.MODEL.REGION.CROP_SIZE = True, [32, 32]
    cfg.MODEL.NIGHTLAB.REGIONS = "grid"
    model = build_model(cfg).eval()
    model.hard_class_mask[1] = model.region_level.used[1] = True
    found = write_cost(cfg, model)
    assert json.loads((tmp_path / "cost.json").read_text()) == found
    assert found["dataset"] == "tiny_test" and found["images"] == found["repeats"] == 2
    parts = found["parts_median_s"]
    assert set(parts) == {"backbone", "decode head", "crop", "region level", "paste and merge", "rest"}
    assert all(seconds > 0 for seconds in parts.values()) and found["median_s"] >= parts["backbone"]
    assert not model.return_image_level


def test_without_test_images_those_held_out_are_timed(cfg, tmp_path):
    cfg.DATASETS.TEST = ()
    found = write_cost(cfg, build_model(cfg))
    assert found["dataset"] == "held-out images" and set(found["parts_median_s"]) == {"backbone", "decode head", "rest"}
    cfg.DATASETS.VAL, cfg.DATASETS.VAL_FRACTION = (), 0.0
    (tmp_path / "cost.json").unlink()
    assert write_cost(cfg, build_model(cfg)) == {} and not (tmp_path / "cost.json").exists()
