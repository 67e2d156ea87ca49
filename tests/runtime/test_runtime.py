"""The runtime alone: no torch, images of other sizes, what it refuses, and the picture."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

import nightlab
from nightlab.errors import InputError
from nightlab.runtime import OnnxModel, Region, Segmentation
from nightlab.runtime.metadata import METADATA_KEY

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper  # noqa: E402

CLASSES, COLORS = ["dark", "bright"], [[10, 20, 30], [200, 100, 0]]


def write_model(path, told=True):
    """A graph for 6x8 frames: a pixel is of class 1 where its red is above 100."""
    nodes = [
        helper.make_node("Slice", ["frame", "zero", "one", "axis"], ["red"]),
        helper.make_node("Squeeze", ["red", "axis"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["value"], to=TensorProto.FLOAT),
        helper.make_node("Greater", ["value", "limit"], ["above"]),
        helper.make_node("Cast", ["above"], ["labels"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["above"], ["confidence"], to=TensorProto.FLOAT),
    ]
    constants = [helper.make_tensor(n, TensorProto.INT64, [1], [v]) for n, v in (("zero", 0), ("one", 1), ("axis", 2))]
    constants.append(helper.make_tensor("limit", TensorProto.FLOAT, [], [100.0]))
    outputs = [("labels", TensorProto.UINT8), ("confidence", TensorProto.FLOAT)]
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info("frame", TensorProto.UINT8, [6, 8, 3])],
        [helper.make_tensor_value_info(name, kind, [6, 8]) for name, kind in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if told:
        value = json.dumps({"size": [6, 8], "classes": CLASSES, "colors": COLORS, "level": "image"})
        helper.set_model_props(model, {METADATA_KEY: value})
    onnx.save(model, str(path))
    return path


@pytest.fixture
def path(tmp_path):
    return write_model(tmp_path / "red.onnx")


@pytest.fixture
def street():
    image = np.zeros((6, 8, 3), np.uint8)
    image[:, 4:, 0] = 220
    return image


def test_no_torch_no_detectron2(path, tmp_path, street):
    cv2.imwrite(str(tmp_path / "street.png"), street[..., ::-1])
    code = f"""
import sys
for name in ("torch", "torchvision", "detectron2", "timm", "matplotlib", "PIL"):
    sys.modules[name] = None
import nightlab
seen = nightlab.load({str(path)!r})({str(tmp_path / "street.png")!r})
seen.save({str(tmp_path / "seen.png")!r})
assert seen.labels.sum() == 24, seen.labels
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert (tmp_path / "seen.png").is_file()


def test_what_needs_torch_says_so(tmp_path, monkeypatch):
    for name in ("torch", "torchvision", "detectron2"):
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "config.yaml").touch()
    for name, missing in (("model.pt2", "torch, torchvision"), ("model.pth", "torch, torchvision, detectron2")):
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=rf"{name}: needs {missing} to run; .* \.onnx file"):
            nightlab.load(tmp_path / name)


def test_labels_of_an_array(path, street):
    seen = nightlab.load(path)(street)
    assert (seen.labels == (street[..., 0] > 100)).all() and seen.labels.dtype == np.uint8
    assert seen.scores.shape == (6, 8) and seen.regions == [] and seen.classes == CLASSES
    assert (seen.image_level == seen.labels).all()


def test_other_sizes_of_one_aspect(path, street):
    large = cv2.resize(street, (80, 60), interpolation=cv2.INTER_NEAREST)
    seen = OnnxModel(path)(large)
    assert seen.labels.shape == seen.scores.shape == (60, 80) and (seen.labels == (large[..., 0] > 100)).all()
    with pytest.raises(InputError, match="export with --size 60 60"):
        OnnxModel(path)(large[:, :60])


def test_what_is_refused(path, tmp_path, street):
    (tmp_path / "text.onnx").write_text("no model")
    for name, message in (("none.onnx", "no such model"), ("text.onnx", "onnxruntime cannot load it")):
        with pytest.raises(InputError, match=message):
            nightlab.load(tmp_path / name)
    with pytest.raises(InputError, match="not a model of NightLab's"):
        OnnxModel(write_model(tmp_path / "other.onnx", told=False))
    model = OnnxModel(path)
    for image in (street.astype(np.float32), street[..., 0]):
        with pytest.raises(InputError, match="give uint8"):
            model(image)
    with pytest.raises(InputError, match="no image"):
        model(tmp_path / "text.onnx")
    with pytest.raises(InputError, match="cannot be read"):
        model(tmp_path / "none.png")
    (tmp_path / "model.pth").touch()
    with pytest.raises(InputError, match="no such configuration"):
        nightlab.load(tmp_path / "model.pth")


@pytest.mark.parametrize("place", [np.nan, np.inf, 1e30, -3e9])
def test_a_graph_whose_regions_have_no_place(path, street, monkeypatch, place):
    model = OnnxModel(path)
    found = model.run(street) | {
        "boxes": np.full((2, 4), place),
        "scores": np.ones(2),
        "real": np.array([False, True]),
    }
    monkeypatch.setattr(model, "run", lambda frame: found)
    with pytest.raises(InputError, match=r"red\.onnx: gives regions whose boxes are no places"):
        model(street)
    found["real"][:] = False  # the places of regions that there are not
    assert model(street).regions == []


def test_a_graph_that_fails(path, street, monkeypatch):
    model = OnnxModel(path)
    with pytest.raises(InputError, match=r"red\.onnx: onnxruntime cannot run it"):
        model.run(street[:4])


def test_the_picture(street, tmp_path):
    large = np.zeros((60, 200, 3), np.uint8)
    labels = np.zeros((60, 200), np.uint8)
    labels[:, 100:] = 1
    ones = np.ones(labels.shape, np.float32)
    seen = Segmentation(large, labels, ones, [Region((20.0, 20.0, 60.0, 50.0), 0.5)], CLASSES, COLORS, labels)
    picture = seen.draw(opacity=1.0)
    assert picture.shape[0] > 60 and picture.shape[1] == 200
    assert picture[5, 5].tolist() == COLORS[0] and picture[5, 150].tolist() == COLORS[1]
    assert picture[40, 20].tolist() != COLORS[0]  # the box
    assert (picture[60:] == COLORS[1]).all(-1).any()  # in the legend
    with pytest.raises(InputError, match="cannot be written"):
        seen.save(tmp_path / "none" / "seen.png")
    with pytest.raises(InputError, match="OpenCV knows no such format"):
        seen.save(tmp_path / "seen.docx")
    assert not list(tmp_path.iterdir())
