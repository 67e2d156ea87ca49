"""The command that calibrates a checkpoint."""

import json

import pytest
import torch
from detectron2.modeling import build_model


@pytest.fixture
def calibrate(load_tool):
    return load_tool("calibrate")


@pytest.fixture
def files(nano_cfg, tiny_card, tmp_path):
    """A configuration and a checkpoint of it."""
    nano_cfg.DATASETS.TRAIN, nano_cfg.DATASETS.VAL = (f"{tiny_card}_train",), (f"{tiny_card}_val",)
    nano_cfg.DATASETS.TEST, nano_cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES = (f"{tiny_card}_test",), 3
    (tmp_path / "config.yaml").write_text(nano_cfg.dump())
    torch.save({"model": build_model(nano_cfg).state_dict(), "iteration": 5}, tmp_path / "model.pth")
    return ["--config-file", str(tmp_path / "config.yaml"), "--weights", str(tmp_path / "model.pth")]


def test_fits_prints_and_writes(calibrate, files, tmp_path, capsys):
    assert calibrate.main([*files, "--json", str(tmp_path / "figures.json")]) == 0
    out = capsys.readouterr().out
    assert "image level" in out and out.strip().endswith("model_calibrated.pth")
    figures = json.loads((tmp_path / "figures.json").read_text())["image_level"]
    assert f"{figures['NLL']:.4f}" in out and f"{figures['ECE_after']:.2f}" in out
    state = torch.load(tmp_path / "model_calibrated.pth", weights_only=True)
    assert float(state["model"]["image_temperature"]) == pytest.approx(figures["temperature"])
    assert state["iteration"] == 5


def test_test_sets_are_refused(calibrate, files, tmp_path, capsys):
    assert calibrate.main([*files, "DATASETS.VAL", "('tiny_test',)"]) == 2
    assert "tiny_test is in DATASETS.TEST too" in capsys.readouterr().err
    assert not list(tmp_path.glob("*_calibrated.pth"))
