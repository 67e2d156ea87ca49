"""Studies of regions on models that can be worked out: one level is right, the other sees nothing."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from nightlab.errors import InputError
from nightlab.evaluation.evaluator import NightLabEvaluator
from nightlab.evaluation.metrics import class_counts
from nightlab.evaluation.region_study import CONTROL, IMAGE_LEVEL, RegionStudy
from nightlab.evaluation.region_table import difference_table, read_study, restricted, study_table, write_study
from nightlab.modeling import NightLab
from nightlab.modeling.nightlab import REGION_SOURCES
from nightlab.modeling.region_level import RegionLevel
from nightlab.modeling.regions import RegionRule

from ..modeling.contracts import pointwise_segmentor

CLASSES = ("road", "pole", "sky")
GREY = torch.tensor([20, 120, 220])  # of the three classes
FRAME = (32, 48)
# Of a pole's 64 pixels its corners are lost: segmentors tell 4x4 cells apart, and bilinear logits round corners off.
POLE = 60


class Detector(nn.Module):
    """Says what it is told: boxes in pixels of the seen image and their logits."""

    def __init__(self, boxes: list[tuple[float, float, float, float]], logits: list[float]):
        super().__init__()
        self.boxes, self.logits = torch.tensor(boxes).float().view(-1, 4), torch.tensor(logits).float()

    def forward(self, image: Tensor, features: Any, logits: Tensor, size: tuple[int, int], hard: Tensor) -> Any:
        return [Instances(size, proposal_boxes=Boxes(self.boxes), objectness_logits=self.logits)], {}


def knows(segmentor: Any) -> Any:
    """Makes a segmentor tell the classes by their grey (its further outputs are out of the question)."""
    classifier = segmentor.decode_head.classifier
    with torch.no_grad():
        classifier.weight.zero_()
        classifier.bias.fill_(-1e3)
        for k, grey in enumerate(GREY.tolist()):  # least squared distance to each class's grey, times 2 / 100
            x = (grey - 100) / 50
            classifier.weight[k, 0], classifier.bias[k] = 50 * x, -25 * x * x
    return segmentor


def blind(segmentor: Any) -> Any:
    """Makes a segmentor see road everywhere."""
    classifier = segmentor.decode_head.classifier
    with torch.no_grad():
        classifier.weight.zero_()
        classifier.bias.zero_()
        classifier.bias[0] = 5
    return segmentor


def dual(image: Any = blind, region: Any = knows, *, size: int = 16, **changes: Any) -> NightLab:
    """Poles are hard; regions are 16x16 at zoom 1 (or others of `size`)."""
    level = RegionLevel(segmentor=region(pointwise_segmentor(4)), num_classes=3, all_classes=False)
    model = NightLab(
        image_level=image(pointwise_segmentor(3)),
        num_classes=3,
        image_size=(0, 0),
        region_level=level,
        rule=RegionRule((size, size), 1.0, 1.0, 1.0),
        source="grid",
        **{"detector": Detector([(8, 8, 24, 24)], [1.0]), "min_area": 4, **changes},
    ).eval()
    model.hard_class_mask[1] = level.used[1] = True
    if region is knows:  # *other* is what is no pole: as likely as the likelier of the other two
        classifier = level.segmentor.decode_head.classifier
        with torch.no_grad():
            classifier.weight[3], classifier.bias[3] = classifier.weight[0], classifier.bias[0]
    return model


def scene(poles: list[tuple[int, int]] = [(8, 8)], image_id: str = "a", void: int = 0) -> dict[str, Any]:  # noqa: B006
    """Road with poles of 8x8, their corners at (row, column), and at the left some void."""
    label = torch.zeros(FRAME, dtype=torch.int64)
    for y, x in poles:
        label[y : y + 8, x : x + 8] = 1
    image = GREY[label].to(torch.uint8).expand(3, *FRAME)
    label[:, :void] = 255
    return {"image": image, "sem_seg": label, "image_id": image_id, "height": FRAME[0], "width": FRAME[1]}


def study(model: NightLab, *scenes: dict[str, Any], sources: Any = REGION_SOURCES, **changes: Any) -> RegionStudy:
    result = RegionStudy(model, CLASSES, sources, **{"numbers": [1, 3], **changes})
    for given in scenes:
        result.add(given)
    return result


# --- rows ------------------------------------------------------------------------------------------------------------


def test_a_row_for_every_source_and_number() -> None:
    result = study(dual(), scene(), scene([(0, 32)], "b"), numbers=[3, 1, 3], scales=(1.0, 1.5))
    expected = {(IMAGE_LEVEL, 0), ("image level, scales 1, 1.5", 0)}
    expected |= {(source, n) for source in REGION_SOURCES if source != "none" for n in (1, 3)}
    expected |= {(source + CONTROL, 3) for source in ("ground_truth", "gain")}
    assert set(result.rows) == expected and next(iter(result.rows)) == (IMAGE_LEVEL, 0)
    for key, row in result.rows.items():
        assert row.confusion.sum() == 2 * 32 * 48 and list(row.per_image) == ["a", "b"], key
        assert np.array_equal(sum(row.per_image.values()), class_counts(row.confusion)), key
        assert row.regions <= 2 * key[1] and math.isfinite(row.seconds), key


def test_another_image_level_beside() -> None:
    result = study(dual(), scene([(12, 12)]), sources=["detector"], beside={"trained on": dual(image=knows)})
    rows = {(row["source"], row["max_regions"]): row for row in result.report()["rows"]}
    assert rows[(IMAGE_LEVEL, 0)]["mIoU-hard"] == 0
    assert rows[("trained on", 0)]["mIoU-hard"] == pytest.approx(100 * POLE / 64)
    assert rows[("trained on", 0)]["time_over_image_level"] == 0


def test_another_detector_on_the_same_levels() -> None:
    """The one at hand misses the pole; the other one finds it."""
    model = dual(detector=Detector([(30, 8, 46, 24)], [1.0]))
    other: Any = Detector([(8, 8, 24, 24)], [1.0])
    result = study(model, scene([(12, 12)]), sources=["detector"], detectors={"RDN": other})
    hard = {(row["source"], row["max_regions"]): row["mIoU-hard"] for row in result.report()["rows"]}
    assert hard[("detector", 1)] == 0 and hard[("RDN", 1)] == pytest.approx(100 * POLE / 64)
    assert len(result.scores) == 1, "the AUC is the detector's own"


def test_figures_by_hand() -> None:
    """One of two poles has a region: it is found, and nothing else is touched."""
    result = study(dual(), scene([(12, 12), (16, 36)]), sources=["detector"])
    assert result.rows[(IMAGE_LEVEL, 0)].confusion.tolist() == [[1408, 0, 0], [128, 0, 0], [0, 0, 0]]
    assert result.rows[("detector", 1)].confusion.tolist() == [[1408, 0, 0], [128 - POLE, POLE, 0], [0, 0, 0]]
    image, one, three = result.report()["rows"]
    assert (image["source"], image["max_regions"], image["regions_per_image"]) == (IMAGE_LEVEL, 0, 0)
    assert image["mIoU"] == pytest.approx(50 * 1408 / 1536) and image["mIoU-hard"] == 0
    assert image["time_over_image_level"] == 0
    pole, road = 100 * POLE / 128, 100 * 1408 / (1536 - POLE)
    assert one["mIoU-hard"] == pytest.approx(pole) and one["mIoU-easy"] == pytest.approx(road)
    assert (one["IoU-pole"], one["regions_per_image"]) == (pytest.approx(pole), 1) and "IoU-sky" not in one
    assert three["mIoU"] == one["mIoU"] and three["max_regions"] == 3


def test_the_best_regions_come_first() -> None:
    detector = Detector([(32, 8, 48, 24), (0, 8, 16, 24), (16, 0, 32, 16)], [-1.0, 0.0, 1.0])
    poles = [(12, 36), (12, 4), (4, 20)]
    result = study(dual(detector=detector), scene(poles), sources=["detector"], numbers=[1, 2, 3])
    assert [result.rows[("detector", n)].confusion[1, 1] for n in (1, 2, 3)] == [POLE, 2 * POLE, 3 * POLE]
    assert [result.rows[("detector", n)].regions for n in (1, 2, 3)] == [1, 2, 3]


def test_without_regions_every_row_is_the_image_level() -> None:
    model = dual(blind, knows, detector=Detector([], []))
    result = study(model, scene([]), scene([], "b", void=9), numbers=[1, 4])
    plain = result.rows[(IMAGE_LEVEL, 0)]
    for source in ("detector", "predicted", "ground_truth", "gain"):
        for number in (1, 4):
            row = result.rows[(source, number)]
            assert row.regions == 0 and np.array_equal(row.confusion, plain.confusion), source
            assert all(np.array_equal(row.per_image[k], plain.per_image[k]) for k in "ab"), source
    assert result.report()["auc"] is None and result.report()["mean_gain"] is None


def test_no_regions_at_most() -> None:
    result = study(dual(), scene(), numbers=[0, 1], sources=["grid", "detector"])
    for source in ("grid", "detector"):
        row = result.rows[(source, 0)]
        assert row.regions == 0 and np.array_equal(row.confusion, result.rows[(IMAGE_LEVEL, 0)].confusion)


def test_random_regions_are_as_many_as_the_detectors_and_of_their_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [(32, 8, 48, 24), (0, 8, 16, 24), (1, 9, 17, 25)]
    model = dual(detector=Detector(boxes, [-1.0, 0.0, 1.0]), score_thresh=0.4)
    shown: list[torch.Tensor] = []
    logits = model.region_logits
    monkeypatch.setattr(model, "region_logits", lambda frames, b: shown.append(b[0]) or logits(frames, b))
    study(model, scene(), sources=["detector", "random"], numbers=[2])
    *_, found, random = shown
    assert len(found) == len(random) == 1, "of the three, two overlap and one is below the threshold"
    torch.testing.assert_close(random[:, 2:] - random[:, :2], found[:, 2:] - found[:, :2])
    assert not torch.equal(random, found)


@pytest.mark.parametrize("source", [source for source in REGION_SOURCES if source not in ("none", "random")])
def test_rows_are_what_the_model_answers(source: str) -> None:
    detector = Detector([(32, 8, 48, 24), (0, 8, 16, 24), (1, 9, 17, 25)], [-1.0, 0.0, 1.0])
    model = dual(detector=detector, max_regions=2, score_thresh=0.4)
    scenes = [scene([(8, 34), (12, 2)]), scene([(0, 8)], "b")]
    result = study(model, *scenes, sources=[source], numbers=[2])
    model.source = source
    evaluator = NightLabEvaluator("study", CLASSES, [False, True, False], distributed=False)
    with torch.no_grad():
        outputs = model(scenes)
    evaluator.process(scenes, outputs)
    row = result.rows[(source, 2)]
    assert np.array_equal(row.confusion, evaluator._confusion["sem_seg"])
    assert row.regions == sum(len(output["regions"]) for output in outputs)


def test_what_the_model_cannot_serve_raises() -> None:
    with pytest.raises(InputError, match="no detector"):
        study(dual(detector=None), scene(), sources=["detector"])


def test_ignored_pixels_count_nowhere() -> None:
    result = study(dual(), scene(void=12), sources=["detector", "ground_truth"])
    assert {row.confusion.sum() for row in result.rows.values()} == {32 * 36}


# --- controls --------------------------------------------------------------------------------------------------------


def test_controls_ask_the_image_level_alone() -> None:
    """A region level that names poles everywhere spoils its own row, and not the control's."""

    def wrong(segmentor: Any) -> Any:
        with torch.no_grad():
            blind(segmentor).decode_head.classifier.bias[:2] = torch.tensor([0.0, 9.0])
        return segmentor

    result = study(dual(knows, wrong), scene(), sources=["ground_truth"])
    right = [[1472, 0, 0], [64 - POLE, POLE, 0], [0, 0, 0]]
    assert result.rows[(IMAGE_LEVEL, 0)].confusion.tolist() == right
    assert result.rows[("ground_truth", 3)].confusion.tolist() == [[1472 - 192, 192, 0], [0, 64, 0], [0, 0, 0]]
    control = result.rows[("ground_truth" + CONTROL, 3)]
    assert control.confusion.tolist() == right and control.regions == 1


def test_controls_of_a_blind_image_level_gain_nothing() -> None:
    result = study(dual(), scene(), sources=["ground_truth", "gain"])
    for source in ("ground_truth", "gain"):
        assert result.rows[(source, 3)].confusion[1, 1] == POLE
        assert np.array_equal(result.rows[(source + CONTROL, 3)].confusion, result.rows[(IMAGE_LEVEL, 0)].confusion)


@pytest.mark.parametrize("size", [13, 18, 31])
def test_controls_on_crops_that_are_padded(size: int) -> None:
    """13, 18 and 31 become 16, 20 and 32 inside the segmentor, which must not stretch what is pasted."""
    poles = [(4, 4), (20, 36), (12, 20)]
    result = study(dual(knows, knows, size=size), scene(poles), sources=["ground_truth"], numbers=[20])
    found = result.rows[("ground_truth" + CONTROL, 20)].confusion
    own = result.rows[("ground_truth", 20)].confusion
    assert found[0, 0] + found[1, 1] >= own[0, 0] + own[1, 1] - 20, "as the region level, which knows as much"


# --- the detector's score --------------------------------------------------------------------------------------------


def test_scores_and_gains_by_hand() -> None:
    """A region on a pole gains, one on the bare road does not."""
    detector = Detector([(8, 8, 24, 24), (32, 8, 48, 24)], [1.0, 2.0])
    result = study(dual(detector=detector), scene(), sources=["detector"])
    assert result.scores == pytest.approx([1 / (1 + math.exp(-2)), 1 / (1 + math.exp(-1))])
    # In the 16x16 region 64 of 256 pixels are a pole: the blind level has IoU 3/4 and 0, the other 1 and 1.
    assert result.gains == pytest.approx([0, 1 - 0.375])
    report = result.report()
    assert report["auc"] == 0 and report["share_with_gain"] == 0.5
    assert report["mean_gain"] == pytest.approx((1 - 0.375) / 2)


def test_regions_without_labels_have_no_gain() -> None:
    detector = Detector([(0, 8, 16, 24), (32, 8, 48, 24)], [1.0, 2.0])
    result = study(dual(detector=detector), scene([(12, 36)], void=16), sources=["detector"])
    assert len(result.scores) == len(result.gains) == 1


def test_a_score_threshold_holds_for_rows_and_not_for_the_auc() -> None:
    detector = Detector([(8, 8, 24, 24), (32, 8, 48, 24)], [1.0, -2.0])
    result = study(dual(detector=detector, score_thresh=0.5), scene(), sources=["detector"])
    assert result.rows[("detector", 3)].regions == 1 and len(result.scores) == 2


# --- the report ------------------------------------------------------------------------------------------------------


def test_the_report_is_plain_json() -> None:
    result = study(dual(), scene([]), sources=["grid", "ground_truth"], scales=(0.5, 1.0))  # no hard class in sight
    report = result.report()
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["images"] == 1 and report["hard_classes"] == ["pole"] and report["seconds_per_image"] > 0
    assert {row["mIoU-hard"] for row in report["rows"]} == {None}
    assert {row["mIoU"] for row in report["rows"]} == {100}
    keys = [(row["source"], row["max_regions"]) for row in report["rows"]]
    assert keys == list(result.rows)


def test_a_study_over_some_of_its_images(tmp_path: Path) -> None:
    """Written, read again, cut down to one image: as if only that one had been studied."""
    some = {"sources": ["detector", "grid"], "scales": (1.0, 1.5)}
    result = study(dual(), scene(), scene([(0, 32), (20, 4)], "b"), **some)
    write_study(tmp_path / "new" / "study.json", {"dataset": "made", **result.report()}, result.rows)
    whole = read_study(tmp_path / "new" / "study.json")
    part = restricted(whole, {"b", "not in it"})
    alone = study(dual(), scene([(0, 32), (20, 4)], "b"), **some).report()
    for row, expected in zip(part["rows"], alone["rows"], strict=True):
        figures = {key: value for key, value in expected.items() if "IoU" in key}
        assert {key: row[key] for key in figures} == figures and row["source"] == expected["source"]
    assert part["images"] == 1 and whole["images"] == 2 and len(whole["rows"]) == len(part["rows"])
    table = study_table([part, part])
    assert "minus image level" in table.splitlines()[0]
    (line,) = (line for line in table.splitlines() if line.startswith("| detector"))
    assert "[" in line and line.split("|")[2].strip() == "1.0"
    minus = {
        line.split("|")[1].strip(): line.split("|")[2:4] for line in difference_table([whole], "grid").splitlines()
    }
    grid, detector = (
        next(
            row
            for row in whole["rows"]
            if row["source"] == name and row["max_regions"] == whole["rows"][-1]["max_regions"]
        )
        for name in ("grid", "detector")
    )
    for text, key in zip(minus["detector"], ("mIoU", "mIoU-hard"), strict=True):
        assert float(text.split()[0]) == pytest.approx(grid[key] - detector[key], abs=0.006)
    assert "grid" not in minus and "image level" in minus
    with pytest.raises(InputError, match="no row 'RDN' with"):
        difference_table([whole], "RDN")
    with pytest.raises(InputError, match="no image of the study of made"):
        restricted(whole, {"c"})
    (tmp_path / "new" / "study.npz").unlink()
    with pytest.raises(InputError, match=r"study\.json: not a study"):
        read_study(tmp_path / "new" / "study.json")


def test_time_counts_what_comes_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that ticks at every look: multi-scale testing takes the place of the image level's pass."""
    ticks = iter(range(1000))
    monkeypatch.setattr("nightlab.evaluation.region_study.time.perf_counter", lambda: float(next(ticks)))
    result = study(dual(), scene(), sources=["grid"], numbers=[1, 2], scales=(1.0,))
    rows = {(row["source"], row["max_regions"]): row["time_over_image_level"] for row in result.report()["rows"]}
    # Each of finding, segmenting (of two regions) and merging is one tick, as is the image level.
    assert rows == {(IMAGE_LEVEL, 0): 0, ("image level, scales 1", 0): 0, ("grid", 1): 2.5, ("grid", 2): 3}
