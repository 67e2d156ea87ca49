"""NNPACK's convolution and oneDNN's product against torch's own choice, and when they are taken."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nightlab.modeling import cpu_kernels
from nightlab.modeling.cpu_kernels import Linear, convolve, linear, use_linear, winograd_pays

needs_nnpack = pytest.mark.skipif(not cpu_kernels._has_nnpack(), reason="this torch has no NNPACK that runs here")
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_linear_pointwise"),
    reason="this torch has no oneDNN for matrix products",
)


@pytest.fixture
def narrow_mkl(monkeypatch):
    """As on cores whose width MKL does not use."""
    monkeypatch.setattr(cpu_kernels, "mkl_is_narrow", lambda: True)


@needs_nnpack
@pytest.mark.parametrize("size", [(32, 32), (45, 47), (1, 1024), (2000, 3)])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_convolution_is_what_it_is_in_double_precision(size, batch, memory_format, has_bias) -> None:
    x = torch.randn(batch, 130, *size).contiguous(memory_format=memory_format)
    weight, bias = torch.randn(128, 130, 3, 3), torch.randn(128) if has_bias else None
    expected = F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1).float()
    with torch.no_grad():
        assert winograd_pays(x, weight)
        found = convolve(x, weight, bias)
    assert (found - expected).abs().max() < 3e-5 * expected.abs().max()


@needs_nnpack
def test_a_convolution_of_an_impulse_returns_the_kernel() -> None:
    x = torch.zeros(1, 128, 32, 32)
    x[0, 5, 14, 15] = 1
    weight = torch.randn(128, 128, 3, 3)
    with torch.no_grad():
        found = convolve(x, weight, None)
    torch.testing.assert_close(found[0, :, 13:16, 14:17], weight[:, 5].flip(-2, -1), rtol=1e-4, atol=1e-4)
    assert found[0, :, :12].abs().max() < 1e-4


@needs_nnpack
def test_winograds_way_is_taken_where_it_pays() -> None:
    x, weight = torch.zeros(1, 128, 32, 32), torch.zeros(128, 128, 3, 3)
    assert not winograd_pays(x, weight), "gradients are wanted"
    with torch.no_grad():
        assert winograd_pays(x, weight)
        assert not winograd_pays(x[..., :31], weight)
        assert not winograd_pays(x[:0], weight)
        assert not winograd_pays(x, weight[:64])
        assert not winograd_pays(x, weight[..., :1, :1])
        assert not winograd_pays(x.double(), weight.double())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert not winograd_pays(x, weight)
        with torch.backends.nnpack.flags(enabled=False):
            assert not winograd_pays(x, weight)


@needs_onednn
@pytest.mark.parametrize("shape", [(4096,), (16, 16, 16), (2, 64, 32)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_a_product_is_what_it_is_in_double_precision(narrow_mkl, shape, has_bias) -> None:
    x, weight, bias = torch.randn(*shape, 40), torch.randn(24, 40), torch.randn(24) if has_bias else None
    expected = F.linear(x.double(), weight.double(), None if bias is None else bias.double()).float()
    views = {"as they are": (x, weight), "transposed": (x.transpose(-1, 0).contiguous().transpose(-1, 0), weight)}
    views["weight transposed"] = (x, weight.t().contiguous().t())
    with torch.no_grad():
        for given in views.values():
            torch.testing.assert_close(linear(*given, bias), expected, rtol=1e-5, atol=1e-5)


@needs_onednn
@pytest.mark.parametrize("shape", [(4096,), (2, 64, 32)])
@pytest.mark.parametrize("has_bias", [True, False])
def test_gradients_of_a_product_are_those_of_torch(narrow_mkl, shape, has_bias) -> None:
    given = [torch.randn(*shape, 40), torch.randn(24, 40), *([torch.randn(24)] if has_bias else [])]
    given = [tensor.requires_grad_() for tensor in given]
    wanted = torch.randn(*shape, 24)
    ours = torch.autograd.grad((linear(*given) * wanted).sum(), given)
    theirs = torch.autograd.grad((F.linear(*given) * wanted).sum(), given)
    for mine, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-3)
    given[0].requires_grad_(False)
    linear(*given).sum().backward()
    assert given[0].grad is None and given[1].grad is not None


@needs_onednn
def test_onednn_is_taken_for_large_products(narrow_mkl, monkeypatch) -> None:
    x, weight = torch.randn(4096, 40), torch.randn(24, 40, requires_grad=True)
    asked: list[str] = []

    def told(*given: object) -> torch.Tensor:
        asked.append("oneDNN")
        return torch.zeros(4096, 24)

    monkeypatch.setattr(cpu_kernels, "_product", told)
    linear(x[:64], weight)
    linear(x.double(), weight.double())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        linear(x, weight)
    assert not asked
    assert linear(x, weight).requires_grad
    with torch.no_grad():
        linear(x, weight)
    assert asked == ["oneDNN", "oneDNN"]
    monkeypatch.setattr(cpu_kernels, "mkl_is_narrow", lambda: False)
    linear(x, weight)
    assert len(asked) == 2


@needs_onednn
def test_a_model_changes_its_linear_layers_and_nothing_else(narrow_mkl) -> None:
    class Own(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(40, 24), nn.GELU(), Own(24, 8))
    before = copy.deepcopy(model)
    use_linear(model)
    assert [type(layer) for layer in model] == [Linear, nn.GELU, Own]
    assert model.state_dict().keys() == before.state_dict().keys()
    x = torch.randn(4096, 40)
    torch.testing.assert_close(model(x), before(x), rtol=1e-5, atol=1e-5)
    program = torch.jit.trace(model.eval(), x)
    assert "mkldnn" not in str(program.inlined_graph)


@pytest.mark.parametrize(
    ("capability", "maker", "narrow"),
    [
        ("AVX512", "vendor_id\t: AuthenticAMD", True),
        ("AVX512", "vendor_id\t: GenuineIntel", False),
        ("AVX2", "vendor_id\t: AuthenticAMD", False),
        ("DEFAULT", "", False),
    ],
)
def test_mkl_is_narrow_on_amds_cores_with_avx512(monkeypatch, capability, maker, narrow) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(cpu_kernels, "_maker", lambda: maker)
    assert cpu_kernels.mkl_is_narrow.__wrapped__() is (narrow and hasattr(torch.ops.mkldnn, "_linear_pointwise"))
