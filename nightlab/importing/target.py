"""The model that a checkpoint is imported into: read off its tensors, or a configuration of the user's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from detectron2.config import CfgNode
from torch import Tensor

from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.data.cityscapes import CLASSES
from nightlab.errors import InputError
from nightlab.importing.classes import names_of
from nightlab.importing.deeplab import DECODER, describe_deeplab
from nightlab.importing.files import Checkpoint, tells_misfits
from nightlab.importing.rules import Source
from nightlab.importing.sources import TABLE

# Swins that timm knows by name: embedding width, blocks of each stage, window.
KNOWN: dict[tuple[int, tuple[int, ...], int], str] = {
    (96, (2, 2, 6, 2), 7): "swin_tiny_patch4_window7_224",
    (96, (2, 2, 18, 2), 7): "swin_small_patch4_window7_224",
    (128, (2, 2, 18, 2), 7): "swin_base_patch4_window7_224",
    (128, (2, 2, 18, 2), 12): "swin_base_patch4_window12_384",
    (192, (2, 2, 18, 2), 7): "swin_large_patch4_window7_224",
    (192, (2, 2, 18, 2), 12): "swin_large_patch4_window12_384",
}
BODY = "backbone.body."
STAGES = 4
# No Swin is larger: its widest has 192 channels and 24 blocks, with 48 heads in the last stage.
LARGEST_WIDTH, MOST_BLOCKS, MOST_HEADS, LARGEST_WINDOW, LARGEST_HEAD = 512, 64, 128, 64, 4096


@tells_misfits
def describe(checkpoint: Checkpoint, tensors: Mapping[str, Tensor], source: Source) -> dict[str, Any]:
    """The part of a configuration, as nested dicts, that says what model the converted `tensors` are of.

    Raises:
        InputError: the backbone is no Swin, nor a ResNet under DeepLabV3+, so that its size cannot be read off, or it
            is larger than any.
    """
    if f"{DECODER}res4.project_conv.project.weight" in tensors:
        deeplab = describe_deeplab(tensors) | _pixels(checkpoint)
        deeplab["SEM_SEG_HEAD"] |= _own_classes(checkpoint, tensors["decode_head.head.predictor.weight"])
        return {"MODEL": deeplab, "VERSION": 2}
    if f"{BODY}patch_embed.proj.weight" not in tensors or f"{BODY}layers_0.blocks.0.{TABLE}" not in tensors:
        raise InputError(f"{checkpoint.file}: its backbone is no Swin; name the model it is of by --config-file")
    width = len(tensors[f"{BODY}patch_embed.proj.weight"])
    depths: list[int] = []
    heads: list[int] = []
    windows: set[int] = set()
    while f"{BODY}layers_{len(depths)}.blocks.0.{TABLE}" in tensors:
        stage = f"{BODY}layers_{len(depths)}.blocks."
        blocks = [key for key in tensors if key.startswith(stage) and key.endswith(TABLE)]
        table = tensors[blocks[0]]
        if len(blocks) != 1 + max(int(key.removeprefix(stage).split(".")[0]) for key in blocks):
            raise InputError(f"{checkpoint.file}: blocks of stage {len(depths)} are missing; is it whole?")
        depths.append(len(blocks))
        heads.append(table.shape[1])
        windows.add((round(len(table) ** 0.5) + 1) // 2)
    if len(depths) != STAGES:
        raise InputError(
            f"{checkpoint.file}: a Swin has {STAGES} stages; here the first block of stage {len(depths)} is missing, "
            "or there are more; is it whole?"
        )
    window = max(windows)
    if width > LARGEST_WIDTH or max(depths) > MOST_BLOCKS or max(heads) > MOST_HEADS or window > LARGEST_WINDOW:
        raise InputError(
            f"{checkpoint.file}: a Swin of width {width} with {depths} blocks, {heads} heads and windows of {window} "
            "is larger than any; name the model it is of by --config-file"
        )
    known = KNOWN.get((width, tuple(depths), window))
    arguments: dict[str, Any] = {"strict_img_size": False, "always_partition": True}
    if known is None:
        arguments |= {"embed_dim": width, "depths": depths, "num_heads": heads, "window_size": window}
    model: dict[str, Any] = {
        "TIMM": {
            "NAME": known or KNOWN[96, (2, 2, 6, 2), 7],
            "OUT_NORM": "LN",
            "WINDOWS": source.windows,
            "ARGS": arguments,
        }
    }
    if source.segmentor:
        head, auxiliary = tensors["decode_head.fusion.0.weight"], tensors.get("aux_head.conv.0.weight")
        if len(head) > LARGEST_HEAD or (auxiliary is not None and len(auxiliary) > LARGEST_HEAD):
            raise InputError(f"{checkpoint.file}: its heads are larger than any; name its model by --config-file")
        model["SEM_SEG_HEAD"] = {"CONVS_DIM": len(head)}
        if checkpoint.pool_scales:
            model["SEM_SEG_HEAD"]["POOL_SCALES"] = list(checkpoint.pool_scales)
        model["SEM_SEG_HEAD"] |= _own_classes(checkpoint, tensors["decode_head.classifier.weight"])
        model["AUX_HEAD"] = {"CONVS_DIM": len(auxiliary)} if auxiliary is not None else {"LOSS_WEIGHT": 0.0}
    return {"MODEL": model, "VERSION": 2}


def _own_classes(checkpoint: Checkpoint, classifier: Tensor) -> dict[str, int]:
    """NUM_CLASSES where nobody knows their names; others are matched with Cityscapes' by name."""
    return {} if names_of(len(classifier), checkpoint.classes) else {"NUM_CLASSES": len(classifier)}


def target_config(path: Path | None, described: dict[str, Any], overrides: Sequence[str]) -> CfgNode:
    """The configuration at `path` or, without one, NightLab's defaults with what is `described`; on the CPU, without
    weights of its own.

    Raises:
        InputError: the configuration is unusable.
    """
    with TemporaryDirectory() as folder:
        if path is None:  # as a file, so that overrides are read, and refused, as everywhere
            path = Path(folder, "described.yaml")
            path.write_text(yaml.safe_dump(described), encoding="utf-8")
        cfg = load_config(path, overrides)
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.MODEL.TIMM.WEIGHTS = "cpu", "", ""
    catalog.register_cards(cfg.DATASETS.CARDS)
    return cfg


def with_overrides(described: dict[str, Any], cfg: CfgNode, overrides: Sequence[str]) -> dict[str, Any]:
    """What is described together with the KEYs that were overridden, as `cfg` has them; nested dicts for YAML."""
    values: dict[str, Any] = yaml.safe_load(cfg.dump())
    merged: dict[str, Any] = yaml.safe_load(yaml.safe_dump(described))
    for key in overrides[::2]:
        *groups, name = key.split(".")
        there, here = values, merged
        for group in groups:
            there, here = there[group], here.setdefault(group, {})
        here[name] = there[name]
    return merged


def check_pixels(checkpoint: Checkpoint, cfg: CfgNode) -> None:
    """Raises InputError where a checkpoint says how it normalises images, and the configuration says otherwise."""
    for key, said in _pixels(checkpoint).items():
        own = list(cfg.MODEL[key])
        if not np.allclose(said, own, atol=1e-3):
            raise InputError(
                f"{checkpoint.file}: normalises by {key} {said}, and the configuration by {own}; set MODEL.{key} "
                f'"{said}"'
            )


def _pixels(checkpoint: Checkpoint) -> dict[str, list[float]]:
    """MODEL.PIXEL_MEAN and PIXEL_STD where the file has them.

    Raises:
        InputError: they are those of BGR images.
    """
    keys = {"PIXEL_MEAN": "pixel_mean", "PIXEL_STD": "pixel_std"}
    found = {
        key: [round(float(x), 4) for x in checkpoint.tensors[name].flatten()]
        for key, name in keys.items()
        if name in checkpoint.tensors
    }
    mean = found.get("PIXEL_MEAN", [])
    if len(mean) == 3 and mean[0] < mean[2]:  # of photographs, red is the brightest channel
        raise InputError(
            f"{checkpoint.file}: its pixel_mean {mean} is that of images in BGR, and NightLab reads RGB; in the file, "
            "reverse pixel_mean, pixel_std and the input channels of the first convolution"
        )
    return found


def class_names(cfg: CfgNode) -> tuple[str, ...]:
    """Those of the configuration's data; without data, Cityscapes' where there are 19; else none."""
    names = cfg.DATASETS.TRAIN or cfg.DATASETS.TEST
    if names:
        return tuple(catalog.get_source(names[0]).classes)
    return CLASSES if cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == len(CLASSES) else ()
