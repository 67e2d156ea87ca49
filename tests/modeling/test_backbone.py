"""timm models as backbones: the contract on three families, and what is said of models that cannot serve."""

import pytest
import torch

from nightlab.errors import InputError
from nightlab.modeling import TimmBackbone

from .contracts import NANO_SWIN, BackboneContract


class TestSwin(BackboneContract):
    arguments = NANO_SWIN


class TestEfficientNet(BackboneContract):
    arguments = {"name": "tf_efficientnet_lite0"}


class TestResNet(BackboneContract):
    arguments = {"name": "resnet10t"}


def test_stage_norm_normalises_channels() -> None:
    backbone = TimmBackbone(**NANO_SWIN).eval()
    with torch.no_grad():
        features = backbone(torch.randn(1, 3, 64, 64))
    for feature in features.values():
        torch.testing.assert_close(feature.mean(dim=1), torch.zeros_like(feature[:, 0]), atol=1e-4, rtol=0)
        torch.testing.assert_close(feature.var(dim=1, correction=0), torch.ones_like(feature[:, 0]), atol=1e-2, rtol=0)


def test_stage_norm_of_a_channels_first_model_normalises_channels() -> None:
    backbone = TimmBackbone(name="resnet10t", out_norm="LN").eval()
    with torch.no_grad():
        features = backbone(torch.rand(1, 3, 64, 64))
    for feature in features.values():
        torch.testing.assert_close(feature.mean(dim=1), torch.zeros_like(feature[:, 0]), atol=1e-4, rtol=0)


def test_without_drop_path_training_is_not_random() -> None:
    """timm's Swin has a rate of its own unless it is told."""
    backbone = TimmBackbone(**NANO_SWIN).train()
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(backbone(x)["res5"], backbone(x)["res5"])


def test_drop_path_reaches_the_model() -> None:
    backbone = TimmBackbone(**NANO_SWIN, drop_path_rate=0.5).train()
    x = torch.randn(4, 3, 32, 32)
    assert not torch.equal(backbone(x)["res5"], backbone(x)["res5"])
    backbone.eval()
    assert torch.equal(backbone(x)["res5"], backbone(x)["res5"])


def test_levels_can_be_chosen() -> None:
    backbone = TimmBackbone(name="resnet10t", out_indices=(1, 3))
    assert {name: spec.stride for name, spec in backbone.output_shape().items()} == {"res2": 4, "res4": 16}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"name": "resnet19"}, "no feature model 'resnet19'; did you mean .*resnet18"),
        ({"name": "nonsense"}, "no feature model 'nonsense'; timm.list_models"),
        ({"name": "resnet10t", "args": {"colour": "red"}}, "cannot build 'resnet10t'.*colour"),
        ({"name": "resnet10t", "out_indices": (9,)}, "cannot build 'resnet10t'"),
        ({"name": "vit_tiny_patch16_224"}, r"strides \[16"),
        ({"name": "resnet10t", "out_norm": "XN"}, "OUT_NORM.*XN"),
        ({"name": "hiera_tiny_224", "freeze_at": 1}, "FREEZE_AT 1.*set 0"),
        ({"name": "hrnet_w18_small", "freeze_at": 2}, "FREEZE_AT 2.*set 0"),
    ],
)
def test_models_that_cannot_serve(arguments: dict, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        TimmBackbone(**arguments)


@pytest.mark.parametrize(
    ("build", "level", "frozen"),
    [
        (TestResNet, 1, {"conv1", "bn1"}),
        (TestResNet, 2, {"conv1", "bn1", "layer1"}),
        (TestEfficientNet, 2, {"conv_stem", "bn1", "blocks.0", "blocks.1"}),
        (TestSwin, 1, {"patch_embed"}),
        (TestSwin, 2, {"patch_embed", "layers_0"}),
    ],
)
def test_freezing_stops_at_its_level(build: type[BackboneContract], level: int, frozen: set[str]) -> None:
    backbone = TimmBackbone(**build.arguments, freeze_at=level).train()
    before = {key: value.clone() for key, value in backbone.body.state_dict().items()}
    sum(feature.square().mean() for feature in backbone(torch.randn(2, 3, 64, 64)).values()).backward()

    def is_frozen(name: str) -> bool:
        return any(f"{name}.".startswith(f"{prefix}.") for prefix in frozen)

    for name, parameter in backbone.body.named_parameters():
        assert parameter.requires_grad != is_frozen(name), name
        assert (parameter.grad is None) == is_frozen(name), name
    for name, buffer in backbone.body.named_buffers():
        if name.endswith("running_mean"):
            assert torch.equal(buffer, before[name]) == is_frozen(name), name


def test_everything_can_be_frozen() -> None:
    backbone = TimmBackbone(name="resnet10t", freeze_at=5)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


@pytest.mark.parametrize(("size", "same"), [((224, 224), True), ((96, 64), False)])
def test_windows_differ_where_maps_are_padded(size: tuple[int, int], same: bool) -> None:
    """Maps of 224 are multiples of the window at every stage; the other size is compared with transformers too."""
    official = TimmBackbone(**NANO_SWIN, windows="official").eval()
    plain = TimmBackbone(**NANO_SWIN).eval()
    plain.load_state_dict(official.state_dict())
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        ours, timms = official(x)["res2"], plain(x)["res2"]
    assert torch.allclose(ours, timms, atol=1e-5) == same


def test_unknown_windows_are_refused() -> None:
    with pytest.raises(InputError, match=r"MODEL\.TIMM\.WINDOWS: .mmseg. is not known"):
        TimmBackbone(**NANO_SWIN, windows="mmseg")


@pytest.mark.parametrize("key", ["checkpoint_path", "pretrained", "cache_dir"])
def test_timm_loads_nothing_by_itself(key: str) -> None:
    with pytest.raises(InputError, match=rf"MODEL\.TIMM\.ARGS: {key} may not be given"):
        TimmBackbone(name="resnet18", args={key: "somewhere"})
    with pytest.raises(InputError, match=r"MODEL\.TIMM\.NAME: .hf-hub:a/b. is no name of a model"):
        TimmBackbone(name="hf-hub:a/b")
