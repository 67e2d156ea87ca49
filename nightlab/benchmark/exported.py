"""A model beside the file that tools/export.py made of it, in alternating runs: time from a frame to labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from detectron2.config import CfgNode

from nightlab.benchmark.side_by_side import alternate, compared
from nightlab.data.nightstreet import render
from nightlab.predictor import Predictor
from nightlab.runtime import ExportedModel


def compare_with_exported(cfg: CfgNode, model: ExportedModel, *, repeats: int = 5, warmup: int = 1) -> dict[str, Any]:
    """The file over the model of MODEL.WEIGHTS, on a made night street of the file's size.

    Returns:
        `exported`: `file`, its `engine`, `size` and `level`, what `compared` gives, and `equal_labels`, the share of
        pixels.

    Raises:
        InputError: no weights are named, or they are none of this configuration's.
    """
    predictor = Predictor(cfg)
    if model.metadata["level"] == "image":
        predictor.model.region_level = None  # what is left is the image level alone
    frame = render(0, model.size, "night").image

    def eager() -> np.ndarray:
        return predictor(frame).labels

    def exported() -> np.ndarray:
        return model.run(frame)["labels"]

    equal = float((eager() == exported()).mean())
    seconds = alternate({"exported": exported, "eager": eager}, predictor.model.device, repeats=repeats, warmup=warmup)
    return {
        "exported": {
            "file": str(model.file),
            "engine": model.engine,
            "size": list(model.size),
            "level": model.metadata["level"],
            **compared(seconds),
            "equal_labels": equal,
        }
    }


def exported_table(report: Mapping[str, Any]) -> str:
    """What `compare_with_exported` found, for people."""
    found = report["exported"]
    seconds, level = found["median_s"], "image level" if found["level"] == "image" else "whole model"
    spread = f"{found['time_ratio_least']:.3f} to {found['time_ratio_most']:.3f}"
    return "\n".join(
        [
            f"{found['file']} beside eager: {level}, {found['size'][0]}x{found['size'][1]}, {found['engine']}, "
            f"{found['repeats']} runs in turns",
            f"  time    {seconds['exported']:.3f} s, eager {seconds['eager']:.3f}: {found['time_ratio']:.3f}, {spread}",
            f"  equal labels {100 * found['equal_labels']:.3f} %",
        ]
    )
