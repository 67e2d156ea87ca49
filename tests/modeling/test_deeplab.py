"""DeepLabV3+'s head in the segmentor: sizes, gradients, and what does not fit is refused."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_sem_seg_head

from nightlab.errors import InputError
from nightlab.modeling import DeepLabV3PlusLogits

from .contracts import tiny_config

SHAPES = {"res2": ShapeSpec(channels=4, stride=4), "res3": ShapeSpec(8, stride=8), "res4": ShapeSpec(16, stride=16)}


def config(features: str = "['res2', 'res4']"):
    return tiny_config(
        *("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3PlusLogits", "MODEL.SEM_SEG_HEAD.IN_FEATURES", features),
        *("MODEL.SEM_SEG_HEAD.ASPP_CHANNELS", "8", "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS", "[1, 2, 3]"),
    )


@pytest.mark.parametrize("size", [(8, 16), (9, 13)])
def test_logits_have_the_size_of_the_finest_feature(size: tuple[int, int]) -> None:
    head = build_sem_seg_head(config(), SHAPES)
    assert isinstance(head, DeepLabV3PlusLogits)
    height, width = size
    features = {
        name: torch.randn(2, s.channels, -(-height * 4 // s.stride), -(-width * 4 // s.stride))
        for name, s in SHAPES.items()
    }
    logits = head(features)
    assert logits.shape == (2, 5, *size)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())
    assert {name for name, p in head.named_parameters() if not p.grad.any()} == set()


@pytest.mark.parametrize(
    ("features", "message"),
    [("['res2', 'res5']", "res5 is not one of res2"), ("['res2']", "1 widths for the 0 features")],
)
def test_what_does_not_fit_is_refused(features: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_sem_seg_head(config(features), SHAPES)
