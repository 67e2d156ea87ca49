"""The model that a checkpoint is imported into: read off its tensors, or a configuration of the user's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from detectron2.config import CfgNode
from torch import Tensor

from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.data.cityscapes import CLASSES
from nightlab.errors import InputError
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
        return {"MODEL": describe_deeplab(tensors), "VERSION": 2}
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
        depths.append(len(blocks))
        heads.append(table.shape[1])
        windows.add((round(len(table) ** 0.5) + 1) // 2)
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
        model["AUX_HEAD"] = {"CONVS_DIM": len(auxiliary)} if auxiliary is not None else {"LOSS_WEIGHT": 0.0}
    return {"MODEL": model, "VERSION": 2}


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


def class_names(cfg: CfgNode) -> tuple[str, ...]:
    """Those of the configuration's data; without data, Cityscapes' where there are 19; else none."""
    names = cfg.DATASETS.TRAIN or cfg.DATASETS.TEST
    if names:
        return tuple(catalog.get_source(names[0]).classes)
    return CLASSES if cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES == len(CLASSES) else ()
