"""Tiny models of other libraries with lively weights, and what the tests need to compare them with ours."""

import torch
from torch import Tensor, nn

from nightlab.modeling.calibration import UNCALIBRATED

EMBED, DEPTHS, HEADS = 8, (2, 2, 2, 1), (1, 2, 2, 4)


def liven(model: nn.Module) -> nn.Module:
    """Random biases, norms, BatchNorm statistics and position biases, so that every tensor matters."""
    generator = torch.Generator().manual_seed(3)
    for name, value in model.state_dict().items():
        if not value.dtype.is_floating_point or name in UNCALIBRATED:
            continue
        noise = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            value.copy_(0.5 + noise.abs())
        elif value.ndim == 1 and name.endswith("weight"):
            value.copy_(1 + 0.3 * noise)
        elif value.ndim == 1 or "bias_table" in name:
            value.copy_(0.5 * noise)
        else:
            value.copy_(noise * (1.5 / value[0].numel() ** 0.5))
    return model.eval()


def transformers_upernet(labels: int = 19, window: int = 7, auxiliary: bool = True) -> nn.Module:
    """`UperNetForSemanticSegmentation` on a Swin of width 8."""
    from transformers import SwinConfig, UperNetConfig, UperNetForSemanticSegmentation

    backbone = SwinConfig(
        embed_dim=EMBED,
        depths=list(DEPTHS),
        num_heads=list(HEADS),
        window_size=window,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = UperNetConfig(
        backbone_config=backbone,
        hidden_size=16,
        num_labels=labels,
        auxiliary_in_channels=4 * EMBED,
        auxiliary_channels=8,
        use_auxiliary_head=auxiliary,
    )
    return liven(UperNetForSemanticSegmentation(config))


def relative_difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())
