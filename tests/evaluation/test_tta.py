"""Multi-scale and mirrored testing against its definition."""

from typing import Any

import pytest
import torch

from nightlab.evaluation.tta import NightLabWithTTA
from nightlab.modeling import NightLab

from ..modeling.contracts import lively_model, pointwise_model, tiny_config


@pytest.fixture(scope="module")
def model() -> NightLab:
    return lively_model()


def record(height: int = 45, width: int = 61, **more: Any) -> dict[str, Any]:
    return {"image": torch.randint(0, 256, (3, height, width), dtype=torch.uint8), **more}


@torch.no_grad()
def predict(model: torch.nn.Module, *records: dict[str, Any]) -> list[torch.Tensor]:
    return [output["sem_seg"] for output in model(list(records))]


def test_one_plain_look_is_the_model_itself(model: NightLab) -> None:
    given = record(height=20, width=30)
    tta = NightLabWithTTA(model, scales=[1.0], flip=False)
    torch.testing.assert_close(predict(tta, given)[0], predict(model, given)[0], rtol=1e-4, atol=1e-4)


def test_a_symmetric_model_gains_nothing_from_the_mirror() -> None:
    model, given = pointwise_model(), record(44, 60)
    tta = NightLabWithTTA(model, scales=[1.0], flip=True)
    torch.testing.assert_close(predict(tta, given)[0], predict(model, given)[0])


def test_the_running_average_is_the_average_of_posteriors(model: NightLab) -> None:
    given = {**record(), "height": 50, "width": 70}
    tta = NightLabWithTTA(model, scales=[0.5, 1.0, 1.25], flip=True)
    frame = given["image"].float()
    posteriors = []
    with torch.no_grad():
        for scale in (0.5, 1.0, 1.25):
            posteriors.append(model.log_probabilities(frame, (50, 70), scale=scale).softmax(0))
            mirrored = model.log_probabilities(frame.flip(-1), (50, 70), scale=scale)
            posteriors.append(mirrored.softmax(0).flip(-1))
    expected = torch.stack(posteriors).mean(0)
    (found,) = predict(tta, given)
    torch.testing.assert_close(found.exp(), expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(found.exp().sum(0), torch.ones(50, 70), rtol=1e-4, atol=1e-4)
    assert (expected - posteriors[2]).abs().max() > 0.01  # or the comparison would say nothing


def test_output_has_the_models_interface(model: NightLab) -> None:
    records = [record(), {**record(33, 40), "height": 11, "width": 12}]
    outputs = NightLabWithTTA(model, scales=[0.25, 1.0], flip=True)(records)
    assert all(set(output) == {"sem_seg"} for output in outputs)
    assert [output["sem_seg"].shape for output in outputs] == [(5, 45, 61), (5, 11, 12)]


def test_impossible_classes_stay_finite() -> None:
    model = pointwise_model()
    with torch.no_grad():
        model.image_level.decode_head.classifier.bias.copy_(torch.tensor([1000.0, 0.0, 0.0]))
    (output,) = predict(NightLabWithTTA(model, scales=[1.0], flip=True), record(8, 8))
    assert torch.isfinite(output).all()
    assert (output.argmax(0) == 0).all()


def test_scales_and_mirror_come_from_the_configuration(model: NightLab) -> None:
    cfg = tiny_config("TEST.AUG.SCALES", [0.5, 1.0], "TEST.AUG.FLIP", False)
    tta = NightLabWithTTA(cfg, model)
    assert (tta.scales, tta.flips) == ((0.5, 1.0), (False,))
    assert len(NightLabWithTTA(tiny_config("TEST.AUG.FLIP", True), model).flips) == 2
