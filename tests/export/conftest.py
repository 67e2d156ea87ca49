"""A dual-level model that is exported in seconds: timm's smallest convolutional backbone."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

import nightlab.modeling  # noqa: F401
from nightlab.config import load_config
from nightlab.export.checked import Agreement, export
from nightlab.predictor import Predictor

SIZE = (60, 80)
TINY = """
MODEL:
  DEVICE: cpu
  CHANNELS_LAST: False
  TIMM: {NAME: test_resnet, OUT_NORM: "", DROP_PATH_RATE: 0.0}
  SEM_SEG_HEAD: {CONVS_DIM: 8, POOL_SCALES: [3]}
  AUX_HEAD: {LOSS_WEIGHT: 0.0}
  REGION: {ENABLED: True, CROP_SIZE: [32, 48], ZOOM_RANGE: [1.5, 3.0]}
  HARDNESS: {LABELS: rdn, CONVS_DIM: 8}
  NIGHTLAB: {MAX_REGIONS: 3, SCORE_THRESH: 0.78}
  ANCHOR_GENERATOR: {SIZES: [[16, 40]]}
INPUT: {IMAGE_SIZE: [57, 70]}
VERSION: 2
"""


@pytest.fixture(scope="session")
def tiny_cfg(tmp_path_factory) -> CfgNode:
    """Both levels, 19 classes; weights are in MODEL.WEIGHTS, random but far from equal scores."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "config.yaml").write_text(TINY)
    cfg = load_config(folder / "config.yaml")
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
    model.hard_class_mask[[5, 7, 11]] = True
    model.region_level.start_from(model.image_level, model.hard_class_mask)
    torch.save({"model": model.state_dict()}, folder / "model.pth")
    cfg.MODEL.WEIGHTS = str(folder / "model.pth")
    return cfg


@pytest.fixture(scope="session")
def predictor(tiny_cfg) -> Predictor:
    return Predictor(tiny_cfg)


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Frames in which the model finds one, three and two regions."""
    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8), SIZE[::-1]) for _ in range(3)]


@pytest.fixture(scope="session")
def exported(predictor, images, tmp_path_factory) -> Callable[[str], tuple[Path, Agreement]]:
    """Gives the dual-level model as a file of an ending, which takes seconds and so is done once, and how it agrees.

    The region level always runs on MAX_REGIONS in an ONNX file, and on those found in the other.
    """

    @cache
    def once(suffix: str) -> tuple[Path, Agreement]:
        path = tmp_path_factory.mktemp("exported") / f"both{suffix}"
        return path, export(predictor, path, SIZE, images, dynamic=suffix == ".pt2")

    return once
