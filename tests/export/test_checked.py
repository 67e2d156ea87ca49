"""The whole of it as a file of each format: both levels, saying what the model says and what it is."""

import copy

import cv2
import numpy as np
import pytest
import torch

import nightlab
from nightlab import errors
from nightlab.data.cityscapes import CLASSES
from nightlab.errors import InputError
from nightlab.export import checked
from nightlab.export.checked import FORMATS, Format, export
from nightlab.export.graph import DualLevelGraph, ImageLevelGraph, build_graph
from nightlab.modeling.hardness import HardnessDetector
from nightlab.modeling.light import Clahe

SIZE = (60, 80)


@pytest.fixture(scope="module", params=FORMATS)
def both(request, exported):
    """The exported dual-level model, read again, and how far it agrees."""
    path, agreement = exported(request.param)
    return nightlab.load(path), agreement


def test_labels_regions_and_scores_agree(both, predictor, images):
    model, agreement = both
    assert agreement.mean >= 0.999 and len(agreement.shares) == 3
    assert [len(model(image).regions) for image in images] == [1, 3, 2]
    for image in images:
        ours, theirs = model(image), predictor(image)
        assert len(np.unique(ours.labels)) > 2 and (ours.labels != ours.image_level).any()
        assert (ours.image_level == theirs.image_level).mean() >= 0.999
        assert np.abs(ours.scores - theirs.confidence).max() < 0.01
        assert 0 < len(ours.regions) == len(theirs.boxes)
        assert np.allclose([region.box for region in ours.regions], theirs.boxes, atol=0.05)
        assert np.allclose([region.score for region in ours.regions], theirs.scores, atol=1e-3)


def test_the_file_tells_what_it_is(both):
    told = both[0].metadata
    assert told["classes"] == list(CLASSES) and told["hard_classes"] == ["pole", "traffic sign", "person"]
    assert told["size"] == [60, 80] and told["level"] == "all" and told["max_regions"] == 3
    assert told["preprocessing"]["fits_into"] == [57, 70] and len(told["colors"]) == 19


def test_three_lines_serve_the_checkpoint_too(both, tiny_cfg, images, tmp_path):
    model = nightlab.load(tiny_cfg.MODEL.WEIGHTS, opts=("MODEL.DEVICE", "cpu"))
    cv2.imwrite(str(tmp_path / "street.png"), images[0][..., ::-1])
    ours, theirs = model(tmp_path / "street.png"), both[0](tmp_path / "street.png")
    assert (ours.labels == theirs.labels).mean() >= 0.999 and (ours.image == theirs.image).all()
    assert len(ours.regions) == len(theirs.regions) > 0 and tuple(ours.classes) == tuple(theirs.classes)
    assert np.abs(ours.draw().astype(int) - theirs.draw()).mean() < 0.5


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_image_level_alone(predictor, images, tmp_path, suffix):
    path = tmp_path / f"image{suffix}"
    assert export(predictor, path, SIZE, images, level="image").mean >= 0.999
    assert predictor.model.region_level is not None, "the model is left as it is"
    if suffix == ".pt2":
        names = torch.export.load(path).state_dict
        assert names and not any("region_level" in name or "detector" in name for name in names)
    model = nightlab.load(path)
    seen, expected = model(images[0]), predictor(images[0])
    assert model.metadata["level"] == "image" and model.metadata["max_regions"] == 0 and not seen.regions
    assert (seen.labels == expected.image_level).mean() >= 0.999 and (expected.labels != expected.image_level).any()


def test_without_a_proposal_the_image_level_stands(predictor, images):
    graph = build_graph(predictor.model)
    assert isinstance(graph, DualLevelGraph)
    threshold = predictor.model.score_thresh
    predictor.model.score_thresh = 2.0
    try:
        with torch.no_grad():
            labels, _, before, _, scores, real = graph(torch.from_numpy(images[0]))
    finally:
        predictor.model.score_thresh = threshold
    assert torch.equal(labels, before) and not real.any() and not scores.any()


@torch.no_grad()
def test_a_graph_shares_out_easy_classes_as_the_model_does(predictor, images, monkeypatch):
    """With a region level of all classes."""
    model = predictor.model
    monkeypatch.setitem(model.region_level._buffers, "used", torch.ones_like(model.hard_class_mask))
    graph = build_graph(model)
    for image in images:
        labels = graph(torch.from_numpy(image))[0]
        expected = predictor(image).labels
        assert (labels.numpy() == expected).mean() >= 0.999 and (expected != predictor(image).image_level).any()


def test_what_disagrees_is_not_written(predictor, images, tmp_path, monkeypatch):
    class Other:
        metadata = {"level": "image"}

        def run(self, frame):
            return {"labels": np.full(SIZE, 99, np.uint8)}

    write = Format(lambda graph, example, path, metadata: path.write_text("a file"))
    monkeypatch.setitem(FORMATS, ".onnx", write)
    monkeypatch.setattr(checked, "load_exported", lambda path, device: Other())
    with pytest.raises(InputError, match="not written, since only 0"):
        export(predictor, tmp_path / "x.onnx", SIZE, images[:1], level="image")
    assert not list(tmp_path.iterdir())


def test_packages_that_are_missing_are_named(predictor, images, tmp_path, monkeypatch):
    monkeypatch.setattr(errors, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(InputError, match="needs onnxscript; pip install onnxscript"):
        export(predictor, tmp_path / "x.onnx", SIZE, images)


@torch.no_grad()
@pytest.mark.parametrize("most", [1, 3])
def test_leaving_out_regions_that_are_not_there_changes_nothing(predictor, images, monkeypatch, most):
    monkeypatch.setattr(predictor.model, "max_regions", most)
    crops = []
    hook = predictor.model.region_level.register_forward_hook(lambda _, inputs, __: crops.append(len(inputs[0])))
    with hook:
        for image in images:
            frame = torch.from_numpy(image)
            every, found = (build_graph(predictor.model, dynamic=dynamic)(frame) for dynamic in (False, True))
            assert all(torch.allclose(a.float(), b.float(), atol=1e-5) for a, b in zip(every, found, strict=True))
    assert crops == ([1] * 6 if most == 1 else [3, 2, 3, 3, 3, 2])


@torch.no_grad()
def test_the_graph_is_calibrated_as_the_model(predictor, images):
    calibrated = copy.deepcopy(predictor)
    model = calibrated.model
    model.calibrate, model.score_thresh, model.adjust_classes, model.merge_rule = True, 0.0, True, "pooled"
    model.class_bias.copy_(torch.linspace(-1, 1, len(model.class_bias)))
    model.merge_pool[1] = torch.tensor([[0.6], [0.5]])
    model.image_temperature.fill_(2.0)
    model.region_temperature.fill_(3.0)
    model.detector.platt.copy_(torch.tensor([0.5, -1.0]))
    frame, expected = images[0], calibrated(images[0])
    labels, confidence, _, boxes, scores, _ = build_graph(model)(torch.from_numpy(frame))
    assert (labels.numpy() == expected.labels).mean() > 0.999
    assert (
        np.abs(confidence.numpy() - expected.confidence).max()
        < 0.01
        < np.abs(predictor(frame).confidence - expected.confidence).max()
    )
    assert np.allclose(boxes, expected.boxes, atol=0.05) and np.allclose(scores, expected.scores, atol=1e-3)


def test_which_graph_and_what_none_can_hold(predictor, monkeypatch):
    model = predictor.model
    assert isinstance(build_graph(model, "image"), ImageLevelGraph)
    monkeypatch.setattr(model, "source", "grid")
    with pytest.raises(InputError, match="REGIONS grid"):
        build_graph(model)
    monkeypatch.setattr(model.image_level, "light", Clahe())
    with pytest.raises(InputError, match="clahe"):
        build_graph(model, "image")


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_detector_that_starts_from_doubt(tiny_cfg, predictor, images, tmp_path, monkeypatch, suffix):
    cfg = tiny_cfg.clone()
    cfg.defrost()
    cfg.MODEL.HARDNESS.DOUBT = True
    model = predictor.model
    detector = HardnessDetector(cfg, model.image_level.backbone.output_shape()).eval()
    detector.load_state_dict(model.detector.state_dict(), strict=False)
    monkeypatch.setitem(model._modules, "detector", detector)
    monkeypatch.setattr(model, "score_thresh", 0.0)
    before = predictor(images[0]).boxes
    detector.begin_with_doubt()
    after = predictor(images[0]).boxes
    assert len(after) == 3 and not np.array_equal(after, before)
    assert export(predictor, tmp_path / f"doubt{suffix}", SIZE, images).mean >= 0.999
