"""Light adaptation: starts as nothing, keeps to the image, has no halo; each stand-in does what its name says."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nightlab.errors import InputError
from nightlab.light_kinds import KINDS
from nightlab.modeling.light import (
    Clahe,
    Gamma,
    LightAdapter,
    OnnxEnhancement,
    ScriptedEnhancement,
    Translator,
    build_light,
)
from nightlab.modeling.training import continue_borders

from .contracts import shake, tiny_config

SIZES = [(1, 1), (5, 2), (33, 47), (64, 96)]


def images(height=64, width=96, batch=2):
    return 255 * torch.rand(batch, 3, height, width)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("adapter", [LightAdapter(), LightAdapter(scale=1.0), Translator()], ids=["map", "full", "G"])
def test_an_untrained_adapter_changes_nothing(adapter, size):
    x = images(*size)
    torch.testing.assert_close(adapter(x), x, rtol=0, atol=0.2 if isinstance(adapter, Translator) else 1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_the_result_is_an_image(size):
    adapter = LightAdapter()
    shake(adapter)
    with torch.no_grad():
        adapter.generator.last.weight.normal_(std=1.0)
        y = adapter(images(*size))
    assert y.shape == (2, 3, *size) and y.min() >= 0 and y.max() <= 255


def test_the_map_is_smooth():
    """Texture passes: neighbouring pixels get nearly the same light."""
    adapter = LightAdapter(scale=0.25)
    shake(adapter)
    with torch.no_grad():
        adapter.generator.last.weight.normal_(std=0.1)
        light = adapter.light_map(images())
    assert light.std() > 0.01
    assert light.diff(dim=-1).abs().max() < 1.01 * (light.amax() - light.amin()) / 4


def test_an_even_image_gets_even_light_up_to_its_border():
    adapter = LightAdapter()
    shake(adapter)
    with torch.no_grad():
        adapter.generator.last.weight.normal_(std=0.1)
        light = adapter.light_map(torch.full((1, 3, 64, 96), 40.0))
    assert light.abs().max() > 0.01
    torch.testing.assert_close(light, light[..., 30:31, 40:41].expand_as(light), rtol=0, atol=1e-4)


def test_every_weight_of_the_adapter_learns():
    adapter = LightAdapter()
    shake(adapter)
    adapter(images()).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapter.generator.last.parameters())
    assert all(p.grad is not None for p in adapter.parameters())


def test_a_map_that_has_gone_white_can_come_back():
    adapter = LightAdapter().train()
    with torch.no_grad():
        adapter.generator.last.bias.fill_(2.0)
    x = images()
    y = adapter(x)
    torch.testing.assert_close(y, adapter.eval()(x))
    assert (y == 255).float().mean() > 0.9
    y.sum().backward()
    assert adapter.generator.last.bias.grad.min() > 0


def learned(adapter, *biases):
    """Steps of training after which the generator's last bias is each of these."""
    for bias in biases:
        with torch.no_grad():
            adapter.generator.last.bias.fill_(bias)
        adapter.keep_average()


@pytest.mark.parametrize("kind", [LightAdapter, Translator])
def test_what_does_not_learn_is_lit_by_the_average_over_steps(kind):
    adapter, x = kind(decay=0.999).train(), images()
    learned(adapter, 0.0, 0.4, -0.4)
    by_average, by_moment = kind().eval(), kind().eval()
    for other, bias in ((by_average, 0.8 * 0.4 / 3 - 0.4 * 2 / 3), (by_moment, -0.4)):
        torch.nn.Module.load_state_dict(other.generator, adapter.generator.state_dict())
        with torch.no_grad():
            other.generator.last.bias.fill_(bias)
    with torch.no_grad():
        torch.testing.assert_close(adapter(x), by_moment(x), rtol=0, atol=1e-3)
        adapter.requires_grad_(False)  # as in the stages that do not train it
        torch.testing.assert_close(adapter(x), by_average(x), rtol=0, atol=1e-3)
        torch.testing.assert_close(adapter.requires_grad_().eval()(x), by_average(x), rtol=0, atol=1e-3)
    assert not any(p.requires_grad for p in adapter.average.parameters())
    adapter.keep_average()  # it does not learn: as it was
    assert adapter.steps == 3


def test_weights_from_before_there_was_an_average_are_both():
    old, new, x = LightAdapter(), LightAdapter(decay=0.75), images()
    shake(old)
    new.load_state_dict(old.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(new.eval()(x), old.eval()(x))
    learned(new.train(), 0.5)
    torch.testing.assert_close(new.average.last.bias, torch.full((3,), 0.5), msg="the average begins anew")


def test_without_an_average_the_weights_of_the_moment_are_looked_at():
    averaged, plain, x = LightAdapter(decay=0.9).train(), LightAdapter(), images()
    learned(averaged, 0.0, 0.5)
    assert not plain.load_state_dict(averaged.state_dict(), strict=False).missing_keys
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(x), averaged(x))


@pytest.mark.parametrize(
    "key, values",
    {
        "CHANNELS": [0],
        "BLOCKS": [-1],
        "SCALE": [0.0, 1.5],
        "DISCRIMINATOR_CHANNELS": [0],
        "AVERAGE": [1.0, -0.1, 1.5],
        "MEAN": [0.0, -1.0, 1.0, 102.0],
        "TILES": [0, -1],
    }.items(),
)
def test_numbers_out_of_range_are_refused(key, values):
    for value in values:
        with pytest.raises(InputError, match=rf"MODEL\.LIGHT\.{key}: {value} is out of range; take "):
            build_light(tiny_config("MODEL.LIGHT.NAME", "relam", f"MODEL.LIGHT.{key}", value))


def test_gamma_brings_the_mean_to_its_aim_and_darkens_nothing():
    night, day = torch.full((1, 3, 8, 8), 30.0), torch.full((1, 3, 8, 8), 200.0)
    x = torch.cat([night, day])
    y = Gamma(0.4)(x)
    assert y[0].mean() / 255 == pytest.approx(0.4, abs=0.01)
    torch.testing.assert_close(y[1], x[1])


def test_clahe_raises_local_contrast_as_opencv_does():
    x = (60 + 10 * torch.rand(1, 3, 64, 64)).round()
    y = Clahe()(x)
    assert y.shape == x.shape and y.std() > x.std()
    assert np.array_equal(Clahe()._one(x[0].permute(1, 2, 0).byte().numpy()), y[0].permute(1, 2, 0).byte().numpy())


def test_a_network_from_a_file(tmp_path):
    class Brighter(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 0.5

    path = tmp_path / "brighter.pt"
    torch.jit.save(torch.jit.script(Brighter()), path)
    y = ScriptedEnhancement(str(path))(torch.tensor([0.0, 100, 200]).view(1, 3, 1, 1))
    torch.testing.assert_close(y.flatten(), torch.tensor([127.5, 227.5, 255]))
    with pytest.raises(InputError, match=r"absent\.pt"):
        ScriptedEnhancement("absent.pt")
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match=r"brighter\.pt: not a TorchScript file"):
        ScriptedEnhancement(str(path))


class Fixed(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(-1, 3, 256, 256)


class Halved(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[..., ::2]


class Several(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


class Logarithm(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.log() - x.log()  # no number where an image is black


@pytest.mark.parametrize(
    "network, said",
    [
        (Fixed, r"does not take images \(1, 3, 8, 8\) \(RuntimeError: shape '.*256\]' is invalid .*\); give a network"),
        (Halved, r"turns images \(1, 3, 8, 8\) into \(1, 3, 8, 4\); give a network that keeps"),
        (Several, r"turns images \(1, 3, 8, 8\) into a tuple; give a network that keeps"),
        (Logarithm, "makes of an image what is no finite number"),
    ],
)
def test_a_network_that_makes_no_images_is_named(network, said, tmp_path):
    path = tmp_path / "network.pt"
    torch.jit.script(network()).save(path)
    with pytest.raises(InputError, match=rf"network\.pt: {said}"):
        ScriptedEnhancement(str(path))(torch.zeros(1, 3, 8, 8))


def test_a_network_from_a_file_learns_nothing_in_training(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "normed.pt"
    torch.jit.script(torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Dropout(0.9))).save(path)
    network = torch.nn.Sequential(ScriptedEnhancement(str(path)))
    x, before = images(8, 8), {key: value.clone() for key, value in network.state_dict().items()}
    at_test = network.eval()(x)
    assert torch.equal(network.train()(x), at_test)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_padding_of_crops_is_their_border_repeated():
    x = images(6, 8, batch=2)
    given = x.clone()
    continue_borders(x, [{"valid_size": (4, 5)}, {}])
    assert torch.equal(x[1], given[1]) and torch.equal(x[0, :, :4, :5], given[0, :, :4, :5])
    assert torch.equal(x[0], F.pad(given[0, :, :4, :5], (0, 3, 0, 2), mode="replicate"))


def test_a_network_from_an_onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "brighter.onnx"
    shape = ["batch", 3, "height", "width"]
    value = {name: onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in ("x", "y")}
    half = onnx.helper.make_tensor("half", onnx.TensorProto.FLOAT, [], [0.5])
    add = onnx.helper.make_node("Add", ["x", "half"], ["y"])
    graph = onnx.helper.make_graph([add], "brighter", [value["x"]], [value["y"]], [half])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    light = build_light(tiny_config("MODEL.LIGHT.NAME", "onnx", "MODEL.LIGHT.FILE", str(path)))
    night = images()
    torch.testing.assert_close(light(night), (night + 127.5).clamp(max=255))
    with pytest.raises(InputError, match=r"brighter\.onnx: does not take images"):
        light(night[:, :1])
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match=r"brighter\.onnx: not an ONNX file"):
        OnnxEnhancement(str(path))


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("torchscript", "onnx")])
def test_every_kind_is_built(kind):
    light = build_light(tiny_config("MODEL.LIGHT.NAME", repr(kind)))
    assert (light is None) == (kind == "")
    assert light is None or light(images()).shape == (2, 3, 64, 96)


def test_an_unknown_kind():
    with pytest.raises(InputError, match=r"MODEL\.LIGHT\.NAME: 'lamp'"):
        build_light(tiny_config("MODEL.LIGHT.NAME", "lamp"))
