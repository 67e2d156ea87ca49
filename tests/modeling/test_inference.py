"""Half precision and torch.compile: the same labels, nearly or exactly, and what is impossible is said at once."""

from typing import Any

import pytest
import torch
from detectron2.config import CfgNode
from torch import nn

from nightlab.errors import InputError
from nightlab.modeling import NightLab
from nightlab.modeling.inference import check_inference, networks, prepare

from .contracts import lively_model, tiny_config
from .test_dual_level import dual_level, given


def settings(**values: str) -> CfgNode:
    return tiny_config(*(x for key, value in values.items() for x in (f"TEST.{key}", value)))


@pytest.fixture(scope="module")
def model() -> NightLab:
    """Opinions as clear as those of a trained model: logits that spread over some units."""
    model = dual_level()
    with torch.no_grad():
        for level, size in ((model.image_level, (64, 64)), (model.region_level.own_segmentor, (32, 32))):
            classifier = level.decode_head.classifier
            classifier.weight /= level(255 * torch.rand(2, 3, *size)).logits.std() / 4
        nn.init.normal_(model.detector.rpn.rpn_head.objectness_logits.weight, std=1.0)
    return model


@torch.no_grad()
def predict(model: NightLab, cfg: CfgNode, *records: dict[str, Any]) -> list[dict[str, Any]]:
    prepare(model, cfg)
    try:
        return model(list(records))
    finally:
        prepare(model, settings())


def test_half_precision_decides_as_single_precision(model: NightLab) -> None:
    records = [given(69, 93, seed) for seed in range(3)]
    plain, half = (predict(model, settings(PRECISION=name), *records) for name in ("float32", "bfloat16"))
    for level in ("sem_seg", "sem_seg_image_level"):
        assert all(output[level].dtype == torch.float32 for output in half)
        equal = [(a[level].argmax(0) == b[level].argmax(0)).float().mean() for a, b in zip(plain, half, strict=True)]
        assert torch.stack(equal).mean() > 0.97
        assert not any(torch.equal(a[level], b[level]) for a, b in zip(plain, half, strict=True)), (
            "or nothing was tried"
        )
        for output in half:
            torch.testing.assert_close(output[level].exp().sum(0), torch.ones(69, 93), rtol=1e-5, atol=1e-5)
    for output in half:
        assert output["regions"].scores.dtype == output["regions"].pred_boxes.tensor.dtype == torch.float32


def test_only_the_networks_are_in_half_precision(model: NightLab) -> None:
    seen: dict[str, set[torch.dtype]] = {"head": set(), "proposals": set()}
    hooks = [
        model.image_level.decode_head.register_forward_hook(lambda _, __, out: seen["head"].add(out.dtype)),
        model.detector.rpn.rpn_head.register_forward_hook(lambda _, __, out: seen["proposals"].add(out[0][0].dtype)),
    ]
    predict(model, settings(PRECISION="bfloat16"), given())
    predict(model, settings(), given())
    for hook in hooks:
        hook.remove()
    assert seen == {"head": {torch.bfloat16, torch.float32}, "proposals": {torch.float32}}


def test_training_is_left_as_it_is(model: NightLab) -> None:
    prepare(model, settings(PRECISION="bfloat16"))
    level = model.image_level.train()
    logits = level(torch.rand(2, 3, 32, 32)).logits
    prepare(model.eval(), settings())
    assert logits.dtype == torch.float32


def test_a_compiled_image_level_says_the_same() -> None:
    model, record = lively_model(), given(45, 61)
    (plain,) = predict(model, settings(), record)
    (found,) = predict(model, settings(COMPILE="eager"), record)
    torch.testing.assert_close(found["sem_seg"], plain["sem_seg"], rtol=1e-3, atol=1e-3)


def test_every_network_is_compiled_and_nothing_else_changes(model: NightLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a compiler that does nothing."""
    record, names = given(45, 61), list(model.state_dict())
    (plain,) = predict(model, settings(), record)
    monkeypatch.setattr(model, "score_thresh", float(plain["regions"].scores[1]))
    compiled: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled.append(function) or function)
    crops: list[int] = []
    hook = model.region_level.register_forward_hook(lambda _, inputs, __: crops.append(len(inputs[0])))
    (few,) = predict(model, settings(), record)
    (found,) = predict(model, settings(COMPILE="any"), record)
    hook.remove()
    assert [function.__self__ for function in compiled[1:]] == list(networks(model)) and len(compiled) == 6
    assert crops == [2, 4] and len(few["regions"]) == 2, "filled up, so that one number of crops is compiled"
    torch.testing.assert_close(found["sem_seg"], few["sem_seg"], rtol=1e-4, atol=1e-4)
    assert list(model.state_dict()) == names
    assert not any("forward" in network.__dict__ for network in networks(model))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"PRECISION": "half"}, "TEST.PRECISION: 'half' is not one of float32, bfloat16, float16"),
        ({"PRECISION": "float16"}, "TEST.PRECISION float16: .*take bfloat16"),
        ({"COMPILE": "gcc"}, "TEST.COMPILE gcc: torch cannot compile for cpu here"),
    ],
)
def test_what_is_impossible_is_said(values: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        check_inference(settings(**values), torch.device("cpu"))
    assert "\n" not in str(raised.value)


def test_a_gpu_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(InputError, match="Tesla T4 lacks it; take float16"):
        check_inference(settings(PRECISION="bfloat16"), torch.device("cuda"))
    check_inference(settings(PRECISION="float16"), torch.device("cuda"))
