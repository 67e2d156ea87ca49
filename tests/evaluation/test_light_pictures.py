"""Pictures of light adaptation: how many, with which figures, and none where there is no adaptation."""

import json

import pytest
from detectron2.modeling import build_model

from nightlab.evaluation.light_pictures import write_light_pictures
from nightlab.evaluation.light_study import adapting_level


@pytest.fixture
def lit(nano_cfg, tmp_path):
    nano_cfg.OUTPUT_DIR, nano_cfg.TEST.PICTURES = str(tmp_path), 5
    nano_cfg.MODEL.LIGHT.NAME = "gamma"
    return nano_cfg


def test_a_third_as_many_as_of_predictions_with_their_figures(tiny_card, lit, tmp_path):
    folder = tmp_path / "light" / "tiny_train"
    folder.mkdir(parents=True)
    (folder / "stale.png").write_bytes(b"")
    files = write_light_pictures(lit, build_model(lit).eval(), "tiny_train")
    assert len(files) == 2 and sorted(folder.glob("*.png")) == sorted(files)
    entries = json.loads((folder / "index.json").read_text())["pictures"]
    assert [entry["file"] for entry in entries] == [file.name for file in files]
    assert all(entry["adapted_luminance"] >= entry["luminance"] and 0 < entry["ssim"] <= 1 for entry in entries)


def test_none_without_adaptation(tiny_card, lit, tmp_path):
    lit.MODEL.LIGHT.NAME = ""
    assert write_light_pictures(lit, build_model(lit).eval(), "tiny_train") == []
    assert not (tmp_path / "light").exists()


def test_the_region_level_alone_is_shown_too(lit):
    lit.MODEL.REGION.ENABLED, lit.MODEL.LIGHT.LEVELS = True, ["region"]
    model = build_model(lit)
    assert adapting_level(model) is model.region_level.own_segmentor
