"""PSPNet's head: the contract of heads on one feature, and what it is made of."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_sem_seg_head
from torch import nn
from torch.nn import functional as F

from nightlab.errors import InputError
from nightlab.modeling import PSPHead

from .contracts import HeadContract, tiny_config


class TestPSP(HeadContract):
    def build(self, input_shape: dict[str, ShapeSpec]) -> nn.Module:
        return PSPHead(input_shape, in_feature="res2", num_classes=self.num_classes, channels=8)


def test_its_parts_by_the_paper() -> None:
    """The feature beside its averages over 1, 2, 3 and 6 cells a side, reduced and enlarged; one 3x3 mixes them."""
    head = PSPHead({"res3": ShapeSpec(channels=4, stride=8)}, in_feature="res3", num_classes=3, channels=8).eval()
    x = torch.randn(2, 4, 12, 18)
    parts = [x]
    for branch, scale in zip(head.pooling.branches, (1, 2, 3, 6), strict=True):
        pooled = branch(F.adaptive_avg_pool2d(x, scale))
        parts.append(F.interpolate(pooled, size=(12, 18), mode="bilinear", align_corners=False))
    expected = head.classifier(head.pooling.bottleneck(torch.cat(parts, dim=1)))
    torch.testing.assert_close(head({"res3": x}), expected, rtol=1e-4, atol=1e-5)


def test_it_reads_the_last_feature_named() -> None:
    cfg = tiny_config("MODEL.SEM_SEG_HEAD.NAME", "PSPHead", "MODEL.SEM_SEG_HEAD.IN_FEATURES", "['res2', 'res3']")
    shapes = {"res2": ShapeSpec(channels=4, stride=4), "res3": ShapeSpec(channels=6, stride=8)}
    assert build_sem_seg_head(cfg, shapes)({"res3": torch.randn(2, 6, 8, 8)}).shape == (2, 5, 8, 8)
    cfg.MODEL.SEM_SEG_HEAD.IN_FEATURES = ["res6"]
    with pytest.raises(InputError, match="IN_FEATURES: res6 is not one of res2, res3"):
        build_sem_seg_head(cfg, shapes)
