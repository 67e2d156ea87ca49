"""The detector's score against true gain: which images are asked, and figures by hand."""

import json

import pytest
import torch
from detectron2.modeling import build_model

from nightlab.data import catalog
from nightlab.evaluation.hardness_check import check_hardness, cross_calibrated, write_hardness
from nightlab.modeling.sources import Candidates

BOXES = torch.tensor([[0.0, 0, 16, 16], [20, 0, 36, 16], [0, 12, 16, 28]])


@pytest.fixture
def cfg(nano_cfg, tiny_card, tmp_path):
    nano_cfg.OUTPUT_DIR, nano_cfg.TEST.HARDNESS_IMAGES = str(tmp_path), 2
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.VAL = ("tiny_train",), ("tiny_train",)
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    nano_cfg.MODEL.REGION.ENABLED, nano_cfg.MODEL.REGION.CROP_SIZE = True, [16, 16]
    nano_cfg.MODEL.HARDNESS.LABELS = "hdm"
    return nano_cfg


@pytest.fixture
def model(cfg, monkeypatch):
    """A model whose detector proposes the same boxes everywhere, of known gain."""
    model = build_model(cfg).eval()
    model.hard_class_mask[1] = model.region_level.used[1] = True
    gain = torch.tensor([0.1, -0.2, float("nan")])
    monkeypatch.setattr(model, "detected", lambda image, raw: Candidates(BOXES, torch.tensor([0.9, 0.3, 0.2])))
    monkeypatch.setattr(model, "gains", lambda image, label, boxes: gain)
    return model


def test_figures_by_hand(cfg, model):
    found = write_hardness(cfg, model)
    assert set(found) == {"fitted", "learned", "unfitted"}
    check = found["fitted"]
    assert check["images"] == 2 and check["regions_per_image"] == [3, 3]
    assert check["longer_sides"] == [16.0] * 6 and check["classes"] == {}, "this detector tells none"
    assert check["scores"] == [0.9, 0.3] * 2 and check["gains"] == [0.1, -0.2] * 2, "all ignored: not counted"
    assert check["auc"] == 1 and check["share_with_gain"] == 0.5 and check["image_of"] == [0, 0, 1, 1]
    assert "calibrated" not in check and found["unfitted"]["calibrated"] == [], "a single image has no others"


def test_classes_of_regions_are_counted_where_they_are_told(cfg, model, monkeypatch):
    boxes, scores = torch.tensor([[0.0, 0, 10, 4], [20, 0, 24, 16], [0, 12, 8, 20]]), torch.tensor([0.9, 0.3, 0.2])
    found = Candidates(boxes, scores, torch.tensor([2, 1, 2]))
    monkeypatch.setattr(model, "detected", lambda image, raw: found)
    records = catalog.load(("tiny_train",))[:1]
    check = check_hardness(model, records)
    names = records[0]["source"].classes
    assert check["longer_sides"] == [10.0, 16.0, 8.0] and check["classes"] == {names[2]: 2, names[1]: 1}


def test_each_image_is_calibrated_by_the_others():
    # Scores of 0.5 and 0.9; in the first image half and all of those gain, in the second one none and half.
    scores, gains, image_of = [], [], []
    for image, shares in ((0, (0.5, 1.0)), (1, (0.0, 0.5))):
        for score, share in zip((0.5, 0.9), shares, strict=True):
            scores += [score] * 1000
            gains += [0.1] * int(1000 * share) + [-0.1] * int(1000 * (1 - share))
            image_of += [image] * 1000
    found = cross_calibrated({"scores": scores, "gains": gains, "image_of": image_of})
    assert [found[i] for i in (0, 1000, 2000, 3000)] == pytest.approx([0.0, 0.5, 0.5, 1.0], abs=0.01)


def test_the_file_is_plain_json(cfg, model, tmp_path):
    found = write_hardness(cfg, model)
    assert json.loads((tmp_path / "hardness.json").read_text()) == found


def test_rdn_learned_gain_on_nothing(cfg, model):
    cfg.MODEL.HARDNESS.LABELS = "rdn"
    assert set(write_hardness(cfg, model)) == {"fitted", "unfitted"}


def test_no_detector_no_file(cfg, tmp_path):
    cfg.MODEL.HARDNESS.LABELS = ""
    assert write_hardness(cfg, build_model(cfg).eval()) == {} and not (tmp_path / "hardness.json").exists()


def test_without_regions_nothing_is_known(model, tiny_card, monkeypatch):
    monkeypatch.setattr(model, "detected", lambda image, raw: Candidates(torch.zeros(0, 4), torch.zeros(0)))
    monkeypatch.setattr(model, "gains", lambda image, label, boxes: torch.zeros(0))
    check = check_hardness(model, catalog.load(("tiny_train",))[:1])
    assert check["auc"] is None and check["share_with_gain"] is None and check["regions_per_image"] == [0]
