"""The export from the command line: what it compares on, what it prints, what it refuses."""

import cv2
import numpy as np
import pytest

from nightlab.export.checked import Agreement


@pytest.fixture
def export(load_tool, monkeypatch):
    """The tool with a model that is not loaded and a file that is no graph."""
    tool = load_tool("export")
    tool.calls = []

    def write(predictor, path, size, images, *, level, dynamic):
        path.write_bytes(bytes(2**20))
        tool.calls.append((size, images, level, dynamic))
        return Agreement([1.0, 0.9995])

    monkeypatch.setattr(tool, "export", write)
    monkeypatch.setattr(tool, "Predictor", lambda cfg: cfg)
    return tool


def arguments(repository, output, *more):
    config = repository / "configs" / "backbones" / "swin_nano.yaml"
    return ["--config-file", str(config), "--output", str(output), "--size", "64", "128", *more]


def test_made_scenes_by_default(export, repository, tmp_path, capsys):
    path = tmp_path / "new" / "model.onnx"
    assert export.main(arguments(repository, path, "--number", "2", "--opts", "MODEL.WEIGHTS", "x.pth")) == 0
    ((size, images, level, dynamic),) = export.calls
    assert (
        size == (64, 128) and level == "all" and not dynamic and [image.shape for image in images] == [(64, 128, 3)] * 2
    )
    assert (images[0] != images[1]).any()
    out = capsys.readouterr().out
    assert "1.0 MiB for frames of 128x64" in out
    assert "on 2 made scenes: 99.9750 %, on the worst of them 99.9500 %" in out


def test_images_of_ones_own(export, repository, tmp_path, capsys):
    for name in "abc":
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.zeros((8, 8, 3), np.uint8))
    more = ("--level", "image", "--dynamic", "--number", "2", "--images", str(tmp_path))
    assert export.main(arguments(repository, tmp_path / "model.onnx", *more)) == 0
    assert len(export.calls[0][1]) == 2 and export.calls[0][2:] == ("image", True)
    assert "2 given images" in capsys.readouterr().out


def test_another_ending_is_refused(export, repository, tmp_path, capsys):
    assert export.main(arguments(repository, tmp_path / "model.pt")) == 2
    assert "name a file that ends in .onnx or .pt2" in capsys.readouterr().err
