"""DeepLabV3+ on a ResNet, as in detectron2's projects/DeepLab: where its tensors belong, and what model they are of."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nightlab.importing.rules import Rule

BODY = "backbone.body."
DECODER = "decode_head.head.decoder."
NORM = r"norm\.(?P<last>\w+)"

# The three convolutions that begin detectron2's DeepLab; timm keeps the first two with their norms in one sequence.
DEEP_STEM = tuple(
    rule
    for theirs, conv, norm in ((1, "conv1.0", "conv1.1"), (2, "conv1.3", "conv1.4"), (3, "conv1.6", "bn1"))
    for rule in (
        Rule(rf"backbone\.stem\.conv{theirs}\.weight", f"{BODY}{conv}.weight"),
        Rule(rf"backbone\.stem\.conv{theirs}\.{NORM}", BODY + norm + r".\g<last>"),
    )
)
PLAIN_STEM = (
    Rule(r"backbone\.stem\.conv1\.weight", f"{BODY}conv1.weight"),
    Rule(rf"backbone\.stem\.conv1\.{NORM}", BODY + r"bn1.\g<last>"),
)

# Blocks of each stage, by timm's name; with three convolutions as its stem it has an "s" behind.
KNOWN: dict[tuple[int, ...], str] = {(3, 4, 6, 3): "resnet50", (3, 4, 23, 3): "resnet101", (3, 8, 36, 3): "resnet152"}
CHANNELS, STEM_WIDTH = [64, 128, 256, 512], 64


def deeplab_rules(stem: tuple[Rule, ...]) -> tuple[Rule, ...]:
    """The head is detectron2's own on both sides. Its last stage, res5, is of stride 16, which here is res4."""

    def block(match: re.Match[str]) -> str:
        return f"{BODY}layer{int(match['stage']) - 1}.{match['block']}."

    where = r"backbone\.res(?P<stage>[2-5])\.(?P<block>\d+)\."
    return (
        *stem,
        Rule(where + r"conv(?P<conv>[123])\.weight", lambda m: f"{block(m)}conv{m['conv']}.weight"),
        Rule(where + rf"conv(?P<conv>[123])\.{NORM}", lambda m: f"{block(m)}bn{m['conv']}.{m['last']}"),
        Rule(where + r"shortcut\.weight", lambda m: f"{block(m)}downsample.0.weight"),
        Rule(where + rf"shortcut\.{NORM}", lambda m: f"{block(m)}downsample.1.{m['last']}"),
        Rule(r"sem_seg_head\.decoder\.(res[23])\.(.+)", DECODER + r"\1.\2"),
        Rule(r"sem_seg_head\.decoder\.res5\.(.+)", DECODER + r"res4.\1"),
        Rule(r"sem_seg_head\.predictor\.(weight|bias)", r"decode_head.head.predictor.\1", "classifier"),
        Rule(r"pixel_(mean|std)", "", note="is MODEL.PIXEL_MEAN, PIXEL_STD of the configuration"),
    )


def describe_deeplab(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """MODEL of a configuration, as nested dicts, for converted `tensors`.

    What no tensor tells is taken as detectron2's published configurations have it: output stride 16, a multi-grid of 1,
    2 and 4, image pooling over training crops of 512x1024.
    """
    stages = range(1, 5)
    depths = [len({k.split(".")[3] for k in tensors if k.startswith(f"{BODY}layer{stage}.")}) for stage in stages]
    channels = [len(tensors[f"{BODY}layer{stage}.0.conv1.weight"]) for stage in stages]
    deep = f"{BODY}conv1.0.weight" in tensors
    stem = len(tensors[f"{BODY}conv1.0.weight"]) if deep else STEM_WIDTH
    arguments: dict[str, Any] = {"output_stride": 16}
    if tuple(depths) not in KNOWN:
        arguments["layers"] = depths
    if channels != CHANNELS or stem != STEM_WIDTH:
        arguments |= {"channels": channels, "stem_width": stem}
    finer = [name for name in ("res2", "res3") if f"{DECODER}{name}.project_conv.weight" in tensors]
    return {
        "TIMM": {
            "NAME": KNOWN.get(tuple(depths), "resnet50") + ("s" if deep else ""),
            "OUT_INDICES": [1, 2, 4],
            "OUT_NORM": "",
            "DROP_PATH_RATE": 0.0,
            "DILATIONS": [2 * grid for grid in (1, 2, 4)],
            "ARGS": arguments,
        },
        "SEM_SEG_HEAD": {
            "NAME": "DeepLabV3PlusLogits",
            "IN_FEATURES": [*finer, "res4"],
            "PROJECT_CHANNELS": [len(tensors[f"{DECODER}{name}.project_conv.weight"]) for name in finer],
            "CONVS_DIM": len(tensors[f"{DECODER}{finer[0]}.fuse_conv.0.weight"]) if finer else 256,
            "ASPP_CHANNELS": len(tensors[f"{DECODER}res4.project_conv.project.weight"]),
            "ASPP_POOL": [512, 1024],
        },
        "AUX_HEAD": {"LOSS_WEIGHT": 0.0},
    }
