"""Activation checkpointing: a backward pass computes again what it needs, instead of finding it in memory."""

from torch import nn

from nightlab.errors import InputError


def checkpointable(body: nn.Module, name: str) -> list[nn.Module]:
    """The innermost modules of a timm model that can checkpoint what is in them: the stages, block by block, where they
    know how to (Swin, ConvNeXt), else the model itself (stage by stage). Their `grad_checkpointing` turns it on.

    Raises:
        InputError: the model `name` cannot.
    """
    able = [module for module in body.modules() if hasattr(module, "grad_checkpointing")]
    outer = {id(m) for m in able if any(inner is not m and inner in able for inner in m.modules())}
    if not able:
        raise InputError(
            f"MODEL.TIMM.CHECKPOINT_ACTIVATIONS: timm's {name!r} has no activation checkpointing; set False"
        )
    return [module for module in able if id(module) not in outer]
