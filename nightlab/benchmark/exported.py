"""A model beside the file that tools/export.py made of it, in alternating runs: time from a frame to labels."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode

from nightlab.benchmark.side_by_side import alternate, compared
from nightlab.data.nightstreet import render
from nightlab.errors import InputError
from nightlab.predictor import Predictor
from nightlab.runtime import ExportedModel, OnnxModel
from nightlab.torch_model import TorchModel


def compare_with_exported(cfg: CfgNode, file: Path, *, repeats: int = 5, warmup: int = 1) -> dict[str, Any]:
    """The file over the model of MODEL.WEIGHTS, on a made night street of the file's size; as many threads each.

    Returns:
        `exported`: `file`, its `engine`, `size` and `level`, what `compared` gives, and `equal_labels`, the share of
        pixels.

    Raises:
        InputError: the file is none of tools/export.py, or no weights are named.
    """
    model = load_exported(file)
    predictor = Predictor(cfg)
    frame = render(0, model.size, "night").image
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)
    alone = model.metadata["level"] == "image"

    @torch.no_grad()
    def eager() -> np.ndarray:
        ours = predictor.model
        if alone:
            scores = ours.image_pass(image.to(ours.device).float()).log_probabilities
        else:
            scores = ours([{"image": image}])[0]["sem_seg"]
        return scores.argmax(dim=0).byte().cpu().numpy()

    def exported() -> np.ndarray:
        return model.run(frame)["labels"]

    equal = float((eager() == exported()).mean())
    seconds = alternate({"exported": exported, "eager": eager}, predictor.model.device, repeats=repeats, warmup=warmup)
    return {
        "exported": {
            "file": str(file),
            "engine": model.engine,
            "size": list(model.size),
            "level": model.metadata["level"],
            **compared(seconds),
            "equal_labels": equal,
        }
    }


def load_exported(file: Path) -> ExportedModel:
    """The file as `nightlab.load` gives it, an ONNX file with the threads of torch.

    Raises:
        InputError: it is none of tools/export.py.
    """
    if file.suffix == ".pt2":
        return TorchModel(file)
    if file.suffix == ".onnx":
        return OnnxModel(file, threads=torch.get_num_threads())
    raise InputError(f"{file}: no file of tools/export.py; name an .onnx or .pt2 file")


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
