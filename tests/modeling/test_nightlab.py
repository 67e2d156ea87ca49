"""The meta-architecture: detectron2's list of dicts in and out, and detectron2's own tools working on it."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.catalog import Metadata
from detectron2.engine import DefaultPredictor
from detectron2.evaluation import SemSegEvaluator
from detectron2.modeling import build_model
from detectron2.utils.visualizer import Visualizer
from torch.nn import functional as F

from nightlab.config import add_nightlab_config
from nightlab.modeling import NightLab

from .contracts import lively_model, pointwise_model, tiny_config


@pytest.fixture(scope="module")
def model() -> NightLab:
    return lively_model()


def frame(height: int, width: int) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@torch.no_grad()
def predict(model: NightLab, *records: dict[str, Any]) -> list[torch.Tensor]:
    outputs = model(list(records))
    assert all(set(output) == {"sem_seg"} for output in outputs)
    return [output["sem_seg"] for output in outputs]


def seen_by(model: NightLab, record: dict[str, Any], **options: Any) -> torch.Tensor:
    """What the image level gets to see of a record."""
    seen: list[torch.Tensor] = []
    hook = model.image_level.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model.log_probabilities(record["image"].float(), (4, 4), **options)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("wanted", [(45, 60), (90, 120), (13, 200), (1, 1)])
def test_log_probabilities_at_any_wanted_size(model: NightLab, wanted: tuple[int, int]) -> None:
    (output,) = predict(model, {"image": frame(45, 60), "height": wanted[0], "width": wanted[1]})
    assert output.shape == (5, *wanted)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output.exp().sum(0), torch.ones(wanted), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(output.softmax(0), output.exp(), rtol=1e-4, atol=1e-6)
    assert output.exp().max() > 0.5


def test_a_frame_without_wanted_size_keeps_its_own(model: NightLab) -> None:
    images = [frame(45, 60), frame(64, 33)]
    outputs = predict(model, *({"image": image, "file_name": "any"} for image in images))
    assert [output.shape for output in outputs] == [(5, 45, 60), (5, 64, 33)]
    for image, output in zip(images, outputs, strict=True):  # neighbours in a batch do not matter
        assert torch.equal(predict(model, {"image": image})[0], output)


def test_bytes_and_floats_give_the_same(model: NightLab) -> None:
    image = frame(40, 40)
    assert torch.equal(*predict(model, {"image": image}, {"image": image.float()}))


def test_inputs_are_left_alone(model: NightLab) -> None:
    record = {"image": frame(40, 40).float(), "height": 20, "width": 20}
    before = record["image"].clone()
    predict(model, record)
    assert set(record) == {"image", "height", "width"} and torch.equal(record["image"], before)


@pytest.mark.parametrize(
    ("size", "box", "scale", "expected"),
    [
        ((40, 120), (0, 0), 1.0, (40, 120)),  # zeros keep the size
        ((40, 120), (40, 120), 1.0, (40, 120)),
        ((40, 120), (80, 240), 1.0, (80, 240)),
        ((40, 120), (32, 60), 1.0, (20, 60)),  # the width decides
        ((40, 120), (10, 300), 1.0, (10, 30)),  # the height decides
        ((40, 120), (0, 0), 0.5, (20, 60)),
        ((40, 120), (32, 60), 1.25, (25, 75)),
        ((3, 5), (0, 0), 0.1, (1, 1)),
    ],
)
def test_frames_are_scaled_to_fit_into_the_test_size(
    size: tuple[int, int], box: tuple[int, int], scale: float, expected: tuple[int, int]
) -> None:
    seen = seen_by(pointwise_model(image_size=box), {"image": frame(*size)}, scale=scale)
    assert seen.shape == (1, 3, *expected)


def test_shrinking_averages() -> None:
    stripes = torch.zeros(3, 32, 32)
    stripes[..., ::2] = 200  # without anti-aliasing a quarter of the size would see one of the two only
    seen = seen_by(pointwise_model(), {"image": stripes}, scale=0.25)
    torch.testing.assert_close(seen[..., 2:-2], torch.full((1, 3, 8, 4), 100.0), rtol=0, atol=15)


def test_a_mirrored_look_is_mirrored_back(model: NightLab) -> None:
    image = frame(45, 61).float()
    with torch.no_grad():
        mirrored = model.log_probabilities(image, (45, 61), flip=True)
        expected = model.log_probabilities(image.flip(-1), (45, 61)).flip(-1)
    torch.testing.assert_close(mirrored, expected, rtol=1e-4, atol=1e-5)


def test_training_gives_losses() -> None:
    model = build_model(tiny_config()).train()
    records = [{"image": frame(32, 48), "sem_seg": torch.randint(0, 5, (32, 48))} for _ in range(2)]
    losses = model(records)
    assert set(losses) == {"loss_sem_seg", "loss_aux"}
    expected = model.image_level.losses(
        model.image_level(torch.stack([x["image"] for x in records]).float()),
        torch.stack([x["sem_seg"] for x in records]),
    )
    assert {key: loss.shape for key, loss in losses.items()} == {key: loss.shape for key, loss in expected.items()}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_hard_classes_are_part_of_a_checkpoint(model: NightLab, tmp_path: Path) -> None:
    model.hard_class_mask.copy_(torch.tensor([True, False, True, False, False]))
    torch.save(model.state_dict(), tmp_path / "model.pth")
    other = build_model(tiny_config())
    assert not other.hard_class_mask.any()
    other.load_state_dict(torch.load(tmp_path / "model.pth", weights_only=True))
    assert other.hard_class_mask.tolist() == [True, False, True, False, False]
    record = {"image": frame(40, 40)}
    assert torch.equal(*predict(model, record), *predict(other.eval(), record))


def test_default_predictor_takes_a_bgr_frame(model: NightLab, tmp_path: Path) -> None:
    """A configuration file and a checkpoint are all that detectron2's predictor needs."""
    DetectionCheckpointer(model, str(tmp_path)).save("model")
    cfg = tiny_config("MODEL.WEIGHTS", str(tmp_path / "model.pth"))
    (tmp_path / "config.yaml").write_text(cfg.dump())
    read = get_cfg()
    add_nightlab_config(read)
    read.merge_from_file(str(tmp_path / "config.yaml"))
    image = frame(45, 60)
    bgr = np.ascontiguousarray(image.numpy()[::-1].transpose(1, 2, 0))
    output = DefaultPredictor(read)(bgr)
    assert set(output) == {"sem_seg"}
    torch.testing.assert_close(output["sem_seg"], predict(model, {"image": image})[0])
    drawn = Visualizer(bgr, Metadata(stuff_classes=list("abcde"))).draw_sem_seg(output["sem_seg"].argmax(0))
    assert drawn.get_image().shape == (45, 60, 3)


def read_label(path: str, dtype: type) -> np.ndarray:
    return cv2.imread(path, cv2.IMREAD_UNCHANGED).astype(dtype)


@pytest.fixture
def registered(tmp_path: Path) -> Any:
    """A data set of two files, registered with detectron2 in its own way."""
    records = []
    for n, (height, width) in enumerate([(45, 60), (40, 40)]):
        names = {"file_name": f"{tmp_path}/{n}.png", "sem_seg_file_name": f"{tmp_path}/{n}_label.png"}
        cv2.imwrite(names["file_name"], np.random.randint(0, 256, (height, width, 3), np.uint8))
        label = np.random.randint(0, 5, (height, width), np.uint8)
        label[:4] = 255
        cv2.imwrite(names["sem_seg_file_name"], label)
        records.append({**names, "height": height, "width": width})
    DatasetCatalog.register("nightlab_test_files", lambda: records)
    MetadataCatalog.get("nightlab_test_files").set(stuff_classes=list("abcde"), ignore_label=255)
    yield records
    DatasetCatalog.remove("nightlab_test_files")
    MetadataCatalog.remove("nightlab_test_files")


def test_detectron2s_evaluator_accepts_the_output(model: NightLab, registered: list[dict[str, Any]]) -> None:
    # Its own reader of label files asks numpy for something that numpy 2 refuses.
    evaluator = SemSegEvaluator("nightlab_test_files", distributed=False, sem_seg_loading_fn=read_label)
    evaluator.reset()
    for record in registered:
        image = cv2.imread(record["file_name"])[:, :, ::-1].transpose(2, 0, 1)
        inputs = [{**record, "image": torch.from_numpy(np.ascontiguousarray(image))}]
        with torch.no_grad():
            evaluator.process(inputs, model(inputs))
    figures = evaluator.evaluate()["sem_seg"]
    assert 0 < figures["mIoU"] < 100


def test_probabilities_of_a_model_that_can_be_worked_out() -> None:
    """One colour throughout: the posterior is the classifier's softmax, wherever and at whatever size."""
    model = pointwise_model()
    color = torch.tensor([150.0, 50.0, 190.0])
    normalised = torch.tensor([1.0, -1.0, 1.0])
    classifier = model.image_level.decode_head.classifier
    expected = F.linear(normalised, classifier.weight[..., 0, 0], classifier.bias).softmax(0)
    image = color.view(3, 1, 1).expand(3, 16, 24)
    (output,) = predict(model, {"image": image, "height": 8, "width": 9})
    torch.testing.assert_close(output.exp(), expected.view(3, 1, 1).expand(3, 8, 9))
