"""Deformable convolutions without their operator: the same numbers, in eager mode and under onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import torch

from nightlab.export.layers import SampledDeformableConv2d, replace_deformable
from nightlab.modeling.deformable import DeformableConv2d
from nightlab.modeling.layers import conv_norm_relu


@pytest.fixture(params=[True, False], ids=["v2", "v1"])
def conv(request):
    conv = DeformableConv2d(3, 5, bias=request.param, modulated=request.param)
    torch.nn.init.normal_(conv.offset.weight, std=0.5)  # far beyond the border, too
    torch.nn.init.normal_(conv.offset.bias, std=2.0)
    return conv.eval()


def test_it_is_the_operator(conv):
    x = torch.randn(2, 3, 9, 13)
    with torch.no_grad():
        assert torch.allclose(SampledDeformableConv2d(conv)(x), conv(x), atol=1e-4)


def test_onnxruntime_has_all_it_takes(tmp_path):
    conv, x = DeformableConv2d(3, 5, bias=True, modulated=True).eval(), torch.randn(1, 3, 9, 13)
    torch.nn.init.normal_(conv.offset.weight, std=0.5)
    program = torch.onnx.export(SampledDeformableConv2d(conv), (x,), dynamo=True, opset_version=20, verbose=False)
    program.save(str(tmp_path / "conv.onnx"))
    session = onnxruntime.InferenceSession(str(tmp_path / "conv.onnx"), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    assert np.abs(out - conv(x).detach().numpy()).max() < 1e-4


def test_every_deformable_convolution_is_replaced():
    block = torch.nn.ModuleList([conv_norm_relu(3, 4, 3, deformable=True), conv_norm_relu(4, 4, 3)])
    assert replace_deformable(block) == 1 and replace_deformable(block) == 0
