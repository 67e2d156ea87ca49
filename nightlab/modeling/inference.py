"""How a trained model is run: in which precision, and whether compiled (TEST.PRECISION, TEST.COMPILE).

Both are about the networks alone: backbones, heads and the detector's neck. Light adaptation, posteriors, proposals,
NMS, pasting and merging stay in single precision.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from nightlab.errors import InputError
from nightlab.modeling.cpu_memory import keep_freed_memory

if TYPE_CHECKING:
    from nightlab.modeling.hardness import HardnessDetector
    from nightlab.modeling.nightlab import NightLab
    from nightlab.modeling.segmentor import Segmentor

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def prepare(model: "NightLab", cfg: CfgNode) -> None:
    """Let a model run as TEST says from now on, in place, when it is in evaluation mode; its weights stay as they are.

    On a CPU, this process keeps what memory it frees from now on (`cpu_memory.py`).

    Raises:
        InputError: as `check_inference`.
    """
    check_inference(cfg, model.device)
    if model.device.type == "cpu":
        keep_freed_memory()
    _run(model, PRECISIONS[cfg.TEST.PRECISION], cfg.TEST.COMPILE)


def restore(model: "NightLab") -> None:
    """Let a model run as it is, in place."""
    _run(model, torch.float32, "")


def _run(model: "NightLab", dtype: torch.dtype, backend: str) -> None:
    parts: list[Segmentor | HardnessDetector] = [*_segmentors(model), *_detectors(model)]
    for part in parts:
        part.precision = dtype
    if model.compiled == backend:  # what is compiled already stays so
        return
    model.compiled = backend
    for network in networks(model):  # their forward only, so that hooks, and names in checkpoints, stay as they are
        network.__dict__.pop("forward", None)
        if backend:
            network.__dict__["forward"] = torch.compile(network.forward, backend=backend, dynamic=False)


def how_tested(cfg: CfgNode) -> str:
    """TEST.PRECISION and TEST.COMPILE in words."""
    return str(cfg.TEST.PRECISION) + (f", {cfg.TEST.COMPILE}" if cfg.TEST.COMPILE else "")


def networks(model: "NightLab") -> Iterator[nn.Module]:
    """What takes nearly all of the time."""
    for level in _segmentors(model):
        yield from (level.backbone, level.decode_head)
    for detector in _detectors(model):
        yield from (part for part in (detector.backbone, detector.neck) if part is not None)


def in_precision(module: nn.Module, dtype: torch.dtype, device: torch.device) -> AbstractContextManager[object]:
    """Inside, a module in evaluation mode computes in `dtype` where that is safe; training decides for itself."""
    return nullcontext() if module.training or dtype == torch.float32 else torch.autocast(device.type, dtype)


def check_inference(cfg: CfgNode, device: torch.device) -> None:
    """Raises InputError where the device, or torch here, cannot do what TEST.PRECISION and TEST.COMPILE ask for."""
    name = cfg.TEST.PRECISION
    if name not in PRECISIONS:
        raise InputError(f"TEST.PRECISION: {name!r} is not one of {', '.join(PRECISIONS)}")
    if name == "float16" and device.type == "cpu":
        raise InputError("TEST.PRECISION float16: CPUs are no faster in it; take bfloat16")
    if name == "bfloat16" and device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise InputError(f"TEST.PRECISION bfloat16: {torch.cuda.get_device_name(device)} lacks it; take float16")
    if name != "float32" and not torch.amp.is_autocast_available(device.type):
        raise InputError(f"TEST.PRECISION {name}: torch has no mixed precision for {device.type}; take float32")
    if cfg.TEST.COMPILE:
        _check_backend(cfg.TEST.COMPILE, device)


def _check_backend(backend: str, device: torch.device) -> None:
    try:
        torch.compile(_plus_one, backend=backend)(torch.zeros(8, device=device))
    except RuntimeError as error:  # of which all errors of torch.compile are
        reason = next((line for line in str(error).strip().splitlines() if line), type(error).__name__)
        raise InputError(
            f"TEST.COMPILE {backend}: torch cannot compile for {device.type} here ({reason}); leave it empty, or "
            "install what is missing"
        ) from error


def _plus_one(x: Tensor) -> Tensor:
    return x + 1


def _segmentors(model: "NightLab") -> list["Segmentor"]:
    return [level.own_segmentor for level in (model.image_level, model.region_level) if level is not None]


def _detectors(model: "NightLab") -> list["HardnessDetector"]:
    return [] if model.detector is None else [model.detector]
