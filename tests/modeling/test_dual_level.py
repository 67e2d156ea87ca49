"""NightLab with both levels: what merging changes, what the detector learns from, and one complete checkpoint."""

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn

from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError
from nightlab.evaluation.tta import NightLabWithTTA
from nightlab.modeling import labelling
from nightlab.modeling.calibration import UNCALIBRATED
from nightlab.modeling.labelling import LabelRule
from nightlab.modeling.nightlab import ORACLES, REGION_SOURCES

from .contracts import shake, tiny_config

DUAL = (
    *("MODEL.REGION.ENABLED", "True", "MODEL.HARDNESS.LABELS", "hdm", "MODEL.REGION.CROP_SIZE", "[32, 32]"),
    *("MODEL.HARDNESS.CONVS_DIM", "32", "MODEL.HARDNESS.CANDIDATES", "9", "MODEL.ANCHOR_GENERATOR.SIZES", "[[16]]"),
    *("MODEL.NIGHTLAB.MAX_REGIONS", "4", "MODEL.REGION.MIN_AREA", "4", "MODEL.NIGHTLAB.RETURN_IMAGE_LEVEL", "True"),
)


def dual_level(*opts, hard=(1, 3)):
    """A lively model of both levels with five classes, of which two are hard."""
    torch.manual_seed(0)
    model = build_model(tiny_config(*DUAL, *opts)).eval()
    shake(model)
    with torch.no_grad():
        for segmentor in (model.image_level, model.region_level.segmentor):
            nn.init.normal_(segmentor.decode_head.classifier.weight)
    model.hard_class_mask[list(hard)] = True
    model.region_level.used.copy_(model.hard_class_mask)
    if model.region_level.all_classes:
        model.region_level.used.fill_(True)
    return model


def given(rows=45, columns=60, seed=0, **more):
    random = np.random.default_rng(seed)
    label = np.kron(random.integers(0, 5, (rows // 8 + 1, columns // 8 + 1)), np.ones((8, 8), int))[:rows, :columns]
    return {
        "image": torch.from_numpy(random.integers(0, 256, (3, rows, columns), dtype=np.uint8)),
        "sem_seg": torch.from_numpy(label),
        "image_id": f"image {seed}",
        **more,
    }


@torch.no_grad()
def predict(model, *records):
    return model(list(records))


@pytest.mark.parametrize("source", REGION_SOURCES)
def test_regions_change_what_they_cover_and_nothing_else(source):
    model = dual_level("MODEL.NIGHTLAB.REGIONS", source)
    (output,) = predict(model, given())
    before, after, regions = output["sem_seg_image_level"], output["sem_seg"], output["regions"]
    assert after.shape == before.shape == (5, 45, 60) and len(regions) <= 4
    torch.testing.assert_close(after.exp().sum(0), torch.ones(45, 60), rtol=1e-4, atol=1e-4)
    covered = torch.zeros(45, 60, dtype=torch.bool)
    for x0, y0, x1, y1 in regions.pred_boxes.tensor.tolist():
        covered[max(round(y0), 0) : round(y1), max(round(x0), 0) : round(x1)] = True
    assert torch.equal(after[:, ~covered], before[:, ~covered])
    assert (source == "none") == (len(regions) == 0) or source == "gain"
    assert len(regions) == 0 or not torch.equal(after, before)
    assert (regions.scores[:-1] >= regions.scores[1:]).all()


def test_no_hard_class_means_the_image_level():
    model = dual_level(hard=())
    (output,) = predict(model, given())
    assert torch.equal(output["sem_seg"], output["sem_seg_image_level"]) and len(output["regions"]) == 0


def test_a_threshold_above_all_scores_means_the_image_level():
    (output,) = predict(dual_level("MODEL.NIGHTLAB.SCORE_THRESH", "1.1"), given())
    assert torch.equal(output["sem_seg"], output["sem_seg_image_level"]) and len(output["regions"]) == 0


def test_images_of_a_batch_do_not_touch_each_other():
    model = dual_level()
    records = [given(45, 60, 1), given(64, 50, 2)]
    together = predict(model, *records)
    for record, output in zip(records, together, strict=True):
        (alone,) = predict(model, record)
        torch.testing.assert_close(output["regions"].pred_boxes.tensor, alone["regions"].pred_boxes.tensor)
        torch.testing.assert_close(output["sem_seg"], alone["sem_seg"], rtol=1e-4, atol=1e-4)


def test_boxes_are_given_in_pixels_of_the_output():
    model = dual_level("MODEL.NIGHTLAB.REGIONS", "grid")
    (plain,), (doubled,) = predict(model, given()), predict(model, given(height=90, width=120))
    torch.testing.assert_close(doubled["regions"].pred_boxes.tensor, 2 * plain["regions"].pred_boxes.tensor)
    assert doubled["sem_seg"].shape == (5, 90, 120) and doubled["regions"].image_size == (90, 120)


def test_the_image_level_may_see_another_size_than_the_regions():
    model = dual_level("INPUT.IMAGE_SIZE", "[90, 120]", "MODEL.NIGHTLAB.REGIONS", "detector")
    (output,) = predict(model, given())
    boxes = output["regions"].pred_boxes.tensor
    assert len(boxes) and (boxes >= -1e-3).all() and (boxes[:, 2] <= 60.001).all() and (boxes[:, 3] <= 45.001).all()


def test_all_classes_and_replacement():
    model = dual_level("MODEL.REGION.CLASSES", "all", "MODEL.NIGHTLAB.MERGE", "replace")
    (output,) = predict(model, given())
    assert torch.isfinite(output["sem_seg"]).all()
    assert not torch.equal(output["sem_seg"], output["sem_seg_image_level"])


@pytest.mark.parametrize("source", ["grid", "detector"])
def test_with_all_classes_hard_ones_are_the_region_levels_and_easy_ones_both_levels(source):
    outputs = {}
    for rule in ("posterior", "replace", "pooled"):  # the last without a pool
        model = dual_level(
            "MODEL.REGION.CLASSES", "all", "MODEL.NIGHTLAB.MERGE", rule, "MODEL.NIGHTLAB.REGIONS", source
        )
        (outputs[rule],) = predict(model, given())
    both, region = (outputs[rule]["sem_seg"] for rule in ("posterior", "replace"))
    before = outputs["posterior"]["sem_seg_image_level"]
    covered = (region != before).any(dim=0)
    hard, easy = [1, 3], [0, 2, 4]
    assert covered.any() and torch.equal(outputs["pooled"]["sem_seg"], both)
    torch.testing.assert_close(both[hard][:, covered], region[hard][:, covered], rtol=1e-4, atol=1e-4)
    shares = [x[easy][:, covered].softmax(dim=0) for x in (both, region, before)]
    torch.testing.assert_close(shares[0], (shares[1] + shares[2]) / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stage, part", [("region", "region_level"), ("rdn", "detector"), ("hdm", "detector")])
def test_a_stage_trains_its_part_alone(stage, part):
    model = dual_level("MODEL.NIGHTLAB.STAGE", stage).train()
    records = [given(64, 64, seed, **hard_boxes()) for seed in (1, 2)]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with EventStorage():
        loss = sum(model(records).values())
        assert torch.isfinite(loss)
        loss.backward()
    torch.optim.SGD([p for p in model.parameters() if p.grad is not None], 0.1).step()
    changed = {name.split(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {part}
    trained = dict(getattr(model, part).named_parameters())
    without = [name for name, p in trained.items() if p.grad is None]
    assert not without, "DistributedDataParallel waits for every parameter's gradient"


def hard_boxes():
    boxes = torch.tensor([[8.0, 8, 24, 24], [40, 0, 48, 60]])
    measured = {"candidates": torch.tensor([[8.0, 8, 40, 40], [30, 0, 62, 32]]), "gains": torch.tensor([0.1, -0.1])}
    return {"hard_boxes": boxes, "hard_classes": torch.tensor([1, 3]), **measured, "full_gain": 0.2}


@pytest.mark.parametrize("stage", ["rdn", "hdm"])
def test_images_without_hard_regions_train_too(stage):
    nothing = {"hard_boxes": torch.zeros(0, 4), "hard_classes": torch.zeros(0, dtype=torch.int64)}
    nothing |= {"candidates": torch.zeros(0, 4), "gains": torch.zeros(0), "full_gain": 1.0}
    model = dual_level("MODEL.NIGHTLAB.STAGE", stage).train()
    record = {**given(64, 64), **nothing, "sem_seg": torch.full((64, 64), 255)}
    with EventStorage():
        losses = model([record])
    assert set(losses) == {"loss_rpn_cls", "loss_rpn_loc"} and all(torch.isfinite(x) for x in losses.values())


@pytest.mark.parametrize("opts", [("MODEL.HARDNESS.BOXES_FROM", "prediction"), ("MODEL.HARDNESS.BOXES", "component")])
def test_rdns_boxes_are_selectable(opts):
    model = dual_level("MODEL.NIGHTLAB.STAGE", "rdn", *opts).train()
    with EventStorage():
        assert torch.isfinite(sum(model([given(64, 64, **hard_boxes())]).values()))
    predict(model.eval(), given(64, 64))


def test_gain_of_a_region_by_its_definition():
    model = dual_level()
    record = given(64, 64)
    image = model.image_pass(record["image"].float())
    boxes = torch.tensor([[8.0, 8, 24, 24], [30, 30, 46, 46]])  # zoom 2: half of the crop's size is the frame's own
    gains = model.gains(image, record["sem_seg"], boxes)
    logits = model.region_logits([image.frame], [boxes])[0]
    for box, gain, region in zip(boxes, gains, logits, strict=True):
        merged = model.merge(image.log_probabilities, region[None], box[None])
        x0, y0, x1, y1 = box.int().tolist()
        window = (slice(y0, y1), slice(x0, x1))
        expected = miou(merged, record, window) - miou(image.log_probabilities, record, window)
        assert gain == pytest.approx(expected, abs=0.06), "pasting resamples once more"


def test_what_a_region_has_beyond_the_frame_counts_for_nothing():
    """As a region of a frame that is smaller than it: nothing is pasted there."""
    model = dual_level()
    record = given(24, 24)
    image = model.image_pass(record["image"].float())
    counts = labelling.region_counts(model, image, record["sem_seg"], torch.tensor([[-4.0, -4, 28, 28]]))
    assert [x[0, 1].sum() for x in counts] == [12 * 12] * 2, "on a grid of 16x16, of which every point is two pixels"


def miou(log_probabilities, record, window):
    prediction, label = log_probabilities.argmax(0)[window], record["sem_seg"][window]
    ious = [((prediction == c) & (label == c)).sum() / ((prediction == c) | (label == c)).sum() for c in label.unique()]
    return float(sum(ious) / len(ious))


def test_hdm_calls_positive_what_gains_and_negative_what_loses():
    model = dual_level("MODEL.NIGHTLAB.STAGE", "hdm")
    record = given(64, 64)
    image = model.image_pass(record["image"].float())
    with torch.no_grad():
        candidates, gains = labelling.measured(model, image, model.view(image, record))
    assert len(candidates) > 4 and gains.min() < 0 < gains.max()
    with EventStorage():
        measured = {"candidates": candidates, "gains": gains, "full_gain": 0.1}
        truth = labelling.ground_truth(model, image, {**record, **measured})
    assert 2 <= len(truth) <= len(candidates), "one of those that overlap"
    assert torch.equal(model.gains(image, record["sem_seg"], truth.gt_boxes.tensor) > 0, truth.gt_worth > 0)


def test_gain_in_a_region_and_in_the_data_set():
    model = dual_level("MODEL.NIGHTLAB.STAGE", "hdm")
    record = given(64, 64)
    image = model.image_pass(record["image"].float())
    with torch.no_grad():
        view = model.view(image, record)
        candidates, gains = labelling.measured(model, image, view)
        counted = labelling.counted(model, image, view)
    boxes, region = labelling.measured_gains(LabelRule(), {"a": counted}, model.hard_class_mask)["a"]
    assert torch.equal(boxes, candidates) and torch.allclose(region, gains)
    of_all = LabelRule(gain="dataset")
    alone = labelling.measured_gains(of_all, {"a": counted}, model.hard_class_mask)["a"][1]
    assert alone.shape == region.shape and (alone.sign() == region.sign()).float().mean() > 0.6
    assert counted.frame[1].sum() == (record["sem_seg"] < 5).sum()
    # Twice the same image: each region adds half as much to twice as much.
    twice = labelling.measured_gains(of_all, {"a": counted, "b": counted}, model.hard_class_mask)
    assert torch.allclose(twice["b"][1], alone)
    hard = [
        labelling.measured_gains(LabelRule(gain="hard"), {"a": counted}, mask)["a"][1]
        for mask in (model.hard_class_mask, torch.ones(5, dtype=torch.bool))
    ]
    assert torch.allclose(hard[1], alone) and not torch.allclose(hard[0], alone)


def test_labels_by_gain_are_the_largest_of_those_that_overlap():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]])
    gains = torch.tensor([0.1, 0.2, -0.3, 0.01, 0.0])
    with EventStorage():
        kept, worth = labelling.gain_labels(LabelRule(margin=0.05), boxes, gains, full=0.4)
        graded, shares = labelling.gain_labels(LabelRule(graded=True), boxes, gains, full=0.15)
    assert torch.equal(kept, boxes[[1, 2, 4]]) and worth.tolist() == [1, 0, 0]
    assert torch.equal(graded, boxes[[1, 3, 2, 4]]) and shares.tolist() == pytest.approx([1, 0.01 / 0.15, 0, 0])


def test_which_anchors_count_depends_on_the_image_alone():
    """Two processes with half of the images each have the losses of one with all of them."""
    model = dual_level("MODEL.NIGHTLAB.STAGE", "rdn", "MODEL.RPN.BATCH_SIZE_PER_IMAGE", "4")
    model.detector.train()
    boxes = {"hard_boxes": torch.tensor([[8.0, 8, 24, 24]]), "hard_classes": torch.tensor([1])}
    images = [given(64, 64, seed=n, draw=n, **boxes) for n in range(4)]
    found = []
    for seed, share in enumerate((images, images[:2], images[2:])):
        torch.manual_seed(seed)
        with EventStorage(), torch.no_grad():
            found.append(labelling.losses(model, model.detector, share))
    whole, *halves = found
    for name, loss in whole.items():
        assert loss == pytest.approx(float(sum(half[name] for half in halves)) / 2, rel=1e-5), name


def test_one_checkpoint_is_complete(tmp_path):
    model = dual_level()
    NightLabCheckpointer(model, str(tmp_path)).save("model")
    other = build_model(tiny_config(*DUAL)).eval()
    NightLabCheckpointer(other).load(str(tmp_path / "model.pth"))
    assert torch.equal(predict(model, given())[0]["sem_seg"], predict(other, given())[0]["sem_seg"])
    assert other.hard_class_mask.tolist() == [False, True, False, True, False]


def test_a_checkpoint_from_before_calibration_is_complete(tmp_path):
    model = dual_level("MODEL.NIGHTLAB.CALIBRATE", "True")
    state = {name: value for name, value in model.state_dict().items() if name not in UNCALIBRATED}
    torch.save({"model": state}, tmp_path / "old.pth")
    expected = predict(model, given())[0]
    set_calibration(model)
    NightLabCheckpointer(model).load(str(tmp_path / "old.pth"))
    assert model.image_temperature == model.region_temperature == 1 and model.detector.platt.tolist() == [1, 0]
    plain = predict(dual_level(), given())[0]
    for output in (predict(model, given())[0], plain):
        assert torch.equal(output["sem_seg"], expected["sem_seg"]), "temperatures of 1 change nothing"
        assert torch.equal(output["regions"].scores, expected["regions"].scores)


def set_calibration(model):
    model.image_temperature.fill_(2.0)
    model.region_temperature.fill_(3.0)
    model.detector.platt.copy_(torch.tensor([0.5, -1.0]))


def test_calibration_moves_confidence_and_no_ranking():
    model = dual_level()
    set_calibration(model)
    (plain,) = predict(model, given())
    model.calibrate = True
    (output,) = predict(model, given())
    before, after = plain["sem_seg_image_level"], output["sem_seg_image_level"]
    torch.testing.assert_close(after, (before / 2).log_softmax(dim=0), rtol=1e-3, atol=1e-4)
    assert torch.equal(after.argmax(dim=0), before.argmax(dim=0))
    assert torch.equal(output["regions"].pred_boxes.tensor, plain["regions"].pred_boxes.tensor)
    odds = torch.logit(plain["regions"].scores.double())
    torch.testing.assert_close(output["regions"].scores.double(), (0.5 * odds - 1).sigmoid(), rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        image = model.image_pass(given()["image"].float())
        boxes = output["regions"].pred_boxes.tensor
        tempered = model.region_logits([image.frame], [boxes])[0]
        model.calibrate = False
        torch.testing.assert_close(tempered, model.region_logits([image.frame], [boxes])[0] / 3)
    torch.testing.assert_close(output["sem_seg"].exp().sum(0), torch.ones(45, 60), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("calibrate", ["False", "True"])
def test_multi_scale_testing_merges_once(calibrate):
    model = dual_level("MODEL.NIGHTLAB.CALIBRATE", calibrate)
    set_calibration(model)
    plain = NightLabWithTTA(model, scales=[1.0], flip=False)
    # As probabilities: averaging cuts logarithms off at the smallest number.
    posteriors = [predict(m, given())[0]["sem_seg"].exp() for m in (plain, model)]
    torch.testing.assert_close(*posteriors, rtol=1e-4, atol=1e-4)
    (output,) = predict(NightLabWithTTA(model, scales=[0.5, 1.0], flip=True), given())
    assert output["sem_seg"].shape == (5, 45, 60) and len(output["regions"])


def test_a_missing_detector_is_named():
    model = dual_level("MODEL.HARDNESS.LABELS", "")
    with pytest.raises(InputError, match=r"MODEL\.HARDNESS\.LABELS"):
        predict(model, given())
    with pytest.raises(InputError, match="no detector"):
        build_model(tiny_config(*DUAL, "MODEL.HARDNESS.LABELS", "", "MODEL.NIGHTLAB.STAGE", "hdm"))


@pytest.mark.parametrize("source", ORACLES)
def test_an_oracle_without_labels_is_named(source):
    """As in the demo, where no image has any."""
    model = dual_level("MODEL.NIGHTLAB.REGIONS", source)
    with pytest.raises(InputError, match=f"REGIONS {source}: reads labels, and this image has none"):
        predict(model, {"image": given()["image"]})


@pytest.mark.parametrize(
    "key, value",
    [
        ("MODEL.NIGHTLAB.MAX_REGIONS", "-1"),
        ("MODEL.REGION.CROP_SIZE", "[0, 32]"),
        ("MODEL.REGION.ZOOM_RANGE", "[2.0]"),
        ("MODEL.REGION.ZOOM_RANGE", "[0.0, 3.0]"),
        ("MODEL.REGION.ZOOM_RANGE", "[3.0, 1.5]"),
    ],
)
def test_numbers_that_make_no_region(key, value):
    with pytest.raises(InputError, match=f"^{key}: "):
        dual_level(key, value)


def test_an_unknown_merge_or_source():
    with pytest.raises(InputError, match=r"MODEL\.NIGHTLAB\.REGIONS: 'gird' is not one of detector, gain, none, grid"):
        dual_level("MODEL.NIGHTLAB.REGIONS", "gird")
    with pytest.raises(InputError, match=r"MODEL\.NIGHTLAB\.MERGE: 'sum' is not one of posterior, average, replace"):
        dual_level("MODEL.NIGHTLAB.MERGE", "sum")
