"""Class names for a checkpoint, and the arrays that a prediction is made of."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from nightlab.data.cityscapes import CLASSES
from nightlab.errors import InputError
from nightlab.predictor import Predictor, class_names


def test_names_come_from_the_data_set(nano_cfg, tiny_card):
    nano_cfg.DATASETS.TRAIN = ("lost_train", f"{tiny_card}_train")
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 3
    assert class_names(nano_cfg)[0] == ("dark", "grey", "bright")
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 4
    with pytest.raises(InputError, match="tiny_train: has 3 classes, the model 4"):
        class_names(nano_cfg)


def test_names_of_lost_data_sets(nano_cfg):
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.TEST = ("lost_train",), ()
    assert class_names(nano_cfg)[0] == CLASSES
    nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = 4
    with pytest.raises(InputError, match="lost_train"):
        class_names(nano_cfg)


def test_a_prediction_agrees_with_the_model(nano_cfg, tmp_path):
    model = build_model(nano_cfg).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "model.pth")
    nano_cfg.MODEL.WEIGHTS = str(tmp_path / "model.pth")
    predictor = Predictor(nano_cfg)
    image = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    seen = predictor(image, uncertainty=True)
    with torch.no_grad():
        scores = model([{"image": torch.from_numpy(image).permute(2, 0, 1)}])[0]["sem_seg"]
    assert (seen.labels == scores.argmax(0).numpy()).all() and seen.labels.dtype == np.uint8
    assert np.allclose(seen.confidence, scores.exp().amax(0).numpy(), atol=1e-6)
    assert predictor(image).uncertainty is None and seen.uncertainty is not None
    assert 0.9 < seen.uncertainty.min() and seen.uncertainty.max() <= 1  # an untrained model has no idea
    assert (seen.image_level == seen.labels).all() and len(seen.boxes) == 0 and not predictor.has_regions
    assert (predictor.adapted(image) == image).all()
    nano_cfg.TEST.PRECISION = "float16"
    with pytest.raises(InputError, match=r"TEST\.PRECISION float16"):
        Predictor(nano_cfg)
