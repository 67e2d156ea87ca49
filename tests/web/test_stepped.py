"""Models in two steps: the sliders' answers are those of a predictor configured so, and the image level runs once."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from nightlab.errors import InputError
from nightlab.predictor import Predictor
from nightlab.runtime import Region, Segmentation
from nightlab.web.stepped import Checkpoint, Exported, stepped


@pytest.fixture
def dual_cfg(nano_cfg, tmp_path):
    """Both levels of nano size, with random weights."""
    model = nano_cfg.MODEL
    model.REGION.ENABLED, model.REGION.CROP_SIZE, model.REGION.ZOOM_RANGE = True, [32, 32], [1.5, 3.0]
    model.HARDNESS.LABELS, model.HARDNESS.CONVS_DIM = "rdn", 8
    model.ANCHOR_GENERATOR.SIZES = [[16]]
    model.NIGHTLAB.MAX_REGIONS = 4
    built = build_model(nano_cfg)
    torch.nn.init.normal_(built.detector.rpn.rpn_head.objectness_logits.weight, std=2.0)
    built.hard_class_mask[[5, 7, 11]] = True
    built.region_level.start_from(built.image_level, built.hard_class_mask)
    # Untrained levels agree too well, and find all classes equally likely.
    for level in (built.image_level, built.region_level.segmentor):
        torch.nn.init.normal_(level.decode_head.classifier.weight)
    torch.save({"model": built.state_dict()}, tmp_path / "model.pth")
    model.WEIGHTS = str(tmp_path / "model.pth")
    return nano_cfg


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 255, (72, 96, 3), dtype=np.uint8)


def test_sliders_are_configurations(dual_cfg, frame):
    predictor = Predictor(dual_cfg)
    model = Checkpoint(predictor)
    assert model.sliders == (4, 20, 0.0, True)
    scene = model.scene(frame)
    passes = []
    predictor.model.image_level.register_forward_hook(lambda *_: passes.append(1))
    threshold = float(np.median(scene.merged(6, 0.0).scores))
    for number, thresh in ((4, 0.0), (2, 0.0), (6, threshold), (0, 0.0)):
        seen = scene.merged(number, thresh)
        assert not passes
        predictor.model.max_regions, predictor.model.score_thresh = number, thresh
        expected = predictor(frame)
        passes.clear()
        assert len(seen.boxes) == len(expected.boxes) and np.allclose(seen.boxes, expected.boxes)
        assert np.allclose(seen.scores, expected.scores)
        assert (seen.labels == expected.labels).mean() > 0.999  # crops of other batches: rounding
        assert (scene.image_level == expected.image_level).all()
    assert (scene.merged(6, 0.0).labels != scene.image_level).any()
    assert (scene.merged(0, 0.0).labels == scene.image_level).all()
    crops = []
    predictor.model.region_level.register_forward_hook(lambda _, inputs, __: crops.append(len(inputs[0])))
    scene = model.scene(frame)
    for number in (2, 1, 3, 3, 2):
        scene.merged(number, 0.0)
    assert crops == [2, 1]  # each region once


def test_regions_of_another_source(dual_cfg, frame):
    dual_cfg.MODEL.NIGHTLAB.REGIONS = "grid"
    predictor = Predictor(dual_cfg)
    model = Checkpoint(predictor)
    assert model.sliders == (4, 4, 0.0, True)
    assert (model.scene(frame).merged(4, 0.0).labels == predictor(frame).labels).mean() > 0.999
    predictor.model.source = "ground_truth"
    with pytest.raises(InputError, match="reads labels"):
        Checkpoint(predictor)


def test_one_level_has_no_sliders(nano_cfg, tmp_path, frame):
    torch.save({"model": build_model(nano_cfg).state_dict()}, tmp_path / "model.pth")
    nano_cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    (tmp_path / "config.yaml").write_text(nano_cfg.dump())
    model = stepped(tmp_path / "model.pth", None, ["MODEL.DEVICE", "cpu"])
    scene = model.scene(frame)
    seen = scene.merged(5, 0.0)
    assert model.sliders is None and len(seen.boxes) == 0 and seen.labels is scene.image_level


class AllOnes:
    """An exported model whose merged map is class 1 wherever it has a region."""

    classes, colors, size = ["a", "b"], [(0, 0, 0), (9, 9, 9)], (8, 8)
    metadata = {"max_regions": 2}

    def __call__(self, frame):
        before, labels = np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8)
        labels[:4, :6] = 1
        regions = [Region((-1.0, 0.0, 3.6, 4.0), 0.8), Region((2.0, 0.0, 6.0, 4.4), 0.4)]
        return Segmentation(frame, labels, np.ones((8, 8), np.float32), regions, self.classes, self.colors, before)


def test_an_exported_model_shows_its_merged_map_where_regions_count():
    model = Exported(AllOnes())
    assert model.sliders == (2, 2, 0.0, False) and model.size == (8, 8)
    scene = model.scene(np.zeros((8, 8, 3), np.uint8))
    assert scene.merged(2, 0.0).labels.sum() == 24
    for seen in (scene.merged(1, 0.0), scene.merged(2, 0.5)):
        assert seen.labels[:4, :4].all() and seen.labels.sum() == 16 and len(seen.boxes) == 1
    assert scene.merged(0, 0.0).labels.sum() == 0


def test_an_exported_image_level():
    model = AllOnes()
    model.metadata = {}
    exported = Exported(model)
    assert exported.sliders is None
    assert len(exported.scene(np.zeros((8, 8, 3), np.uint8)).merged(0, 0.0).boxes) == 0
