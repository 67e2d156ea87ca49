"""The evaluator: detectron2's figures on the same files, parts that add up, the file that it writes."""

import json
import math
import sys
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from PIL import Image

from nightlab.errors import InputError
from nightlab.evaluation.evaluator import NightLabEvaluator, results_table
from nightlab.evaluation.image_counts import ImageCounts, in_order
from nightlab.modeling.scored import IMAGE_LEVEL, decision

CLASSES = ("road", "car", "rider", "train")
HARD = (False, False, True, False)


def scenes(count: int = 4, levels: tuple[str, ...] = ("sem_seg",)) -> tuple[list[dict], list[dict]]:
    """Inputs and outputs of random scenes without a train; predictions are right in about half of the pixels."""
    rng = np.random.default_rng(0)
    inputs, outputs = [], []
    for n in range(count):
        label = rng.choice([0, 1, 2, 255], (20, 30 + n))
        inputs.append({"image_id": f"scene{n}", "file_name": f"scene{n}.png", "sem_seg": torch.from_numpy(label)})
        truth = torch.from_numpy(np.eye(4)[np.where(label == 255, 0, label)]).permute(2, 0, 1)
        outputs.append({level: truth + torch.from_numpy(rng.uniform(0, 2, truth.shape)) for level in levels})
    return inputs, outputs


def evaluator(**options: Any) -> NightLabEvaluator:
    return NightLabEvaluator("scenes_test", CLASSES, HARD, **{"distributed": False, **options})


def read_label(path: str, dtype: type) -> np.ndarray:
    return np.array(Image.open(path)).astype(dtype)


def test_figures_are_detectron2s(tmp_path: Path) -> None:
    inputs, outputs = scenes()
    for given in inputs:
        given["sem_seg_file_name"] = str(tmp_path / given["file_name"])
        Image.fromarray(given["sem_seg"].numpy().astype(np.uint8)).save(given["sem_seg_file_name"])
    DatasetCatalog.register("nightlab_test_scenes", lambda: inputs)
    MetadataCatalog.get("nightlab_test_scenes").set(stuff_classes=list(CLASSES), ignore_label=255)
    try:
        # Its own reader of label files asks numpy for something that numpy 2 refuses.
        theirs = SemSegEvaluator("nightlab_test_scenes", distributed=False, sem_seg_loading_fn=read_label)
        theirs.reset()
        theirs.process(inputs, outputs)
        expected = theirs.evaluate()["sem_seg"]
    finally:
        DatasetCatalog.remove("nightlab_test_scenes")
        MetadataCatalog.remove("nightlab_test_scenes")
    ours = evaluator()
    ours.process(inputs, outputs)
    results = ours.evaluate()
    assert results is not None and set(results) == {"sem_seg"}
    shared = ["IoU-road", "IoU-car", "IoU-rider", "ACC-rider", "mACC", "pACC"]
    assert {key: results["sem_seg"][key] for key in shared} == pytest.approx({key: expected[key] for key in shared})
    # Releases of detectron2 disagree about absent classes in the mean; ours leaves them out.
    iou = [expected[f"IoU-{name}"] for name in CLASSES[:3]]
    assert results["sem_seg"]["mIoU"] == pytest.approx(np.mean(iou))
    assert math.isnan(results["sem_seg"]["IoU-train"])
    assert 20 < results["sem_seg"]["mIoU"] < 90


def test_labels_count_as_the_scores_that_they_come_from() -> None:
    inputs, outputs = scenes(levels=("sem_seg", "sem_seg_image_level"))
    labelled = [
        {
            f"{name}{suffix}": value
            for suffix in ("", IMAGE_LEVEL)
            for name, value in decision(o, suffix)._asdict().items()
        }
        for o in outputs
    ]
    assert all("sem_seg" not in output for output in labelled)
    results = []
    for given in (outputs, labelled):
        counted = evaluator()
        counted.process(inputs, given)
        results.append(counted.evaluate())
    np.testing.assert_equal(results[0], results[1])  # NaN where there is no train


def test_parts_of_two_processes_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inputs, outputs = scenes(5, ("sem_seg", "sem_seg_image_level"))
    whole = evaluator(output=tmp_path / "whole.json")
    whole.process(inputs, outputs)
    expected = whole.evaluate()
    parts = [evaluator(output=tmp_path / "parts.json", distributed=True) for _ in range(2)]
    for start, part in enumerate(parts):
        part.process(inputs[start::2], outputs[start::2])
    given: list[Any] = []
    monkeypatch.setattr(comm, "synchronize", lambda: None)
    monkeypatch.setattr(comm, "gather", lambda data: given.append(data) or given)
    monkeypatch.setattr(comm, "is_main_process", lambda: False)
    assert parts[1].evaluate() is None
    monkeypatch.setattr(comm, "is_main_process", lambda: True)
    found = parts[0].evaluate()
    assert found is not None and expected is not None and list(found) == list(expected)
    for level, figures in expected.items():
        assert found[level] == pytest.approx(figures, nan_ok=True)
    written, counted = tmp_path / "parts.json", tmp_path / "parts_per_image.npz"
    assert json.loads(written.read_text().replace("parts_", "whole_")) == json.loads(
        (tmp_path / "whole.json").read_text()
    )
    with np.load(counted) as ours, np.load(tmp_path / "whole_per_image.npz") as theirs:
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)


def test_a_second_evaluation_starts_anew() -> None:
    inputs, outputs = scenes()
    ours = evaluator()
    ours.process(inputs, outputs)
    first = ours.evaluate()
    ours.reset()
    ours.process(inputs, outputs)
    assert str(ours.evaluate()) == str(first)


def test_levels_are_counted_apart() -> None:
    inputs, outputs = scenes()
    for given, output in zip(inputs, outputs, strict=True):
        label = given["sem_seg"].clone()
        label[label == 255] = 0
        output["sem_seg_image_level"] = torch.nn.functional.one_hot(label, 4).permute(2, 0, 1)
    ours = evaluator()
    ours.process(inputs, outputs)
    results = ours.evaluate()
    assert results is not None
    assert results["sem_seg_image_level"]["mIoU"] == 100
    assert results["sem_seg"]["mIoU"] < 100
    assert list(results) == ["sem_seg", "sem_seg_image_level"]


def test_hard_and_easy_means() -> None:
    inputs, outputs = scenes()
    ours = evaluator()
    ours.process(inputs, outputs)
    results = ours.evaluate()
    assert results is not None
    figures = results["sem_seg"]
    assert figures["mIoU-hard"] == figures["IoU-rider"]
    assert figures["mIoU-easy"] == pytest.approx((figures["IoU-road"] + figures["IoU-car"]) / 2)


def test_the_file(tmp_path: Path) -> None:
    inputs, outputs = scenes(3)
    output = tmp_path / "evaluation" / "scenes_test" / "best.json"
    ours = evaluator(output=output, extra={"checkpoint": "model_best.pth", "iteration": 7})
    ours.process(inputs, outputs)
    results = ours.evaluate()
    assert results is not None
    document = json.loads(output.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert document["dataset"] == "scenes_test"
    assert (document["checkpoint"], document["iteration"], document["images"]) == ("model_best.pth", 7, 3)
    assert (document["classes"], document["hard_classes"]) == (list(CLASSES), ["rider"])
    figures = document["results"]["sem_seg"]
    assert figures["IoU-train"] is None
    assert figures["mIoU"] == pytest.approx(results["sem_seg"]["mIoU"], abs=1e-4)
    matrix = np.array(document["confusion_matrix"]["sem_seg"])
    labelled = sum((given["sem_seg"] != 255).sum().item() for given in inputs)
    assert matrix.shape == (4, 4) and matrix.sum() == labelled
    counts = np.load(output.with_name(document["per_image"]))
    assert counts["image_ids"].tolist() == ["scene0", "scene1", "scene2"]
    assert counts["sem_seg"].sum(axis=0).tolist() == [
        np.diag(matrix).tolist(),
        matrix.sum(1).tolist(),
        matrix.sum(0).tolist(),
    ]


def test_calibration_is_counted_per_level(tmp_path: Path) -> None:
    # Four pixels: sure (0.8) and right twice, sure and wrong once, ignored once. Of the image level all are certain.
    given = {"image_id": "a", "sem_seg": torch.tensor([[0, 0], [1, 255]])}
    sure = torch.tensor([0.8, 0.1, 0.06, 0.04]).log().view(4, 1, 1).expand(4, 2, 2)
    certain = torch.tensor([1.0, 0, 0, 0]).log().view(4, 1, 1).expand(4, 2, 2)
    ours = evaluator(output=tmp_path / "best.json")
    for _ in range(2):
        ours.process([given], [{"sem_seg": sure, "sem_seg_image_level": certain}])
    results = ours.evaluate()
    assert results is not None
    assert results["sem_seg"]["ECE"] == pytest.approx(100 * abs(0.8 - 2 / 3))
    assert results["sem_seg_image_level"]["ECE"] == pytest.approx(100 / 3)
    written = json.loads((tmp_path / "best.json").read_text())
    assert written["results"]["sem_seg"]["ECE"] == pytest.approx(13.3333)
    bins = written["calibration"]["sem_seg"]
    assert bins["pixels"][12] == 6 and bins["right"][12] == 4 and bins["confidence_sum"][12] == pytest.approx(4.8)
    assert sum(bins["pixels"]) == 6 and written["calibration"]["sem_seg_image_level"]["pixels"][14] == 6


def test_nothing_seen_gives_no_figures() -> None:
    assert evaluator().evaluate() == {}


def test_the_table() -> None:
    inputs, outputs = scenes()
    ours = evaluator()
    ours.process(inputs, outputs)
    results = ours.evaluate()
    assert results is not None
    *lines, last = results_table(results, CLASSES, HARD).splitlines()
    assert last == "not in the ground truth, nor in the means: train"
    rows = {line.rsplit(maxsplit=1)[0].strip(): line.rsplit(maxsplit=1)[1] for line in lines[2:]}
    assert list(rows) == ["road", "car", "rider *", "train", "mIoU", "mIoU-hard", "mIoU-easy", "pACC", "ECE"]
    assert rows["train"] == "-"
    assert rows["mIoU"] == f"{results['sem_seg']['mIoU']:.2f}"


def test_of_an_image_its_counts_are_kept_and_nothing_else() -> None:
    """Three numbers of four bytes for each class and level, beside its name; its prediction is let go."""
    ours, levels = evaluator(), ("sem_seg", "sem_seg_image_level")
    predictions = []
    for given, output in zip(*scenes(3, levels), strict=True):
        copy = {level: output[level].clone() for level in levels}
        ours.process([given], [copy])
        predictions += [weakref.ref(value) for value in copy.values()]
        del copy
    assert not any(prediction() is not None for prediction in predictions)


def test_many_images_take_their_counts_alone() -> None:
    """Sizes at which the arrays are full."""
    ours, few, many = evaluator(), 128, 1024
    output = {"labels": torch.zeros(2, 2, dtype=torch.uint8), "confidence": torch.ones(2, 2)}
    output |= {f"{name}{IMAGE_LEVEL}": value for name, value in output.items()}
    label, size = torch.zeros(2, 2, dtype=torch.int64), {}
    tracemalloc.start()
    for n in range(many):
        ours.process([{"image_id": f"scene{n:05d}", "sem_seg": label}], [output])
        if n + 1 in (few, many):
            size[n + 1] = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    name = sys.getsizeof("scene00000")
    assert (size[many] - size[few]) / (many - few) < 2 * (3 * len(CLASSES) * 4 + 10) + name + 32
    results = ours.evaluate()
    assert results is not None and results["sem_seg"]["pACC"] == 100


def test_counts_of_an_image_seen_twice_are_those_of_the_last_time() -> None:
    first, second = ImageCounts(2), ImageCounts(2)
    for kept, ids in ((first, ["b", "a"]), (second, ["c", "b"])):
        for n, image_id in enumerate(ids):
            kept.add(image_id, np.full((3, 2), 10 * (kept is second) + n))
    ids, rows = in_order([(kept.ids, kept.rows) for kept in (first, second)])
    assert ids.tolist() == ["a", "b", "c"] and rows[:, 0, 0].tolist() == [1, 11, 10] and rows.dtype == np.int32


def test_predictions_are_written_on_request(tmp_path: Path) -> None:
    inputs, outputs = scenes(2, ("sem_seg", "sem_seg_image_level"))
    inputs[1]["image_id"] = "drive/scene1"
    for predictions in (False, True):
        ours = evaluator(output=tmp_path / "best.json", predictions=predictions)
        ours.process(inputs, outputs)
        ours.evaluate()
        assert (tmp_path / "predictions").exists() == predictions
    folder = tmp_path / json.loads((tmp_path / "best.json").read_text())["predictions"]
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    assert files == [folder / "drive" / "scene1.png", folder / "scene0.png"]
    for file, output in zip(reversed(files), outputs, strict=True):
        with Image.open(file) as stored:
            assert stored.mode == "L" and np.array_equal(np.asarray(stored), output["sem_seg"].argmax(0).numpy())
    inputs[0]["image_id"] = "../scene0"
    with pytest.raises(InputError, match=r"\.\./scene0: .* set TEST.PREDICTIONS False"):
        ours.process(inputs[:1], outputs[:1])
