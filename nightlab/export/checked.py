"""Writes a model as one file, in ONNX or in torch.export's format, and checks it against the model."""

import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from nightlab.api import load_exported
from nightlab.errors import InputError, missing_packages
from nightlab.export.graph import DualLevelGraph, ImageLevelGraph, build_graph
from nightlab.export.layers import replace_deformable
from nightlab.export.onnx_file import write_onnx
from nightlab.export.torch_file import write_torch
from nightlab.files import written_aside
from nightlab.predictor import Predictor
from nightlab.runtime import ExportedModel

Size = tuple[int, int]


class Format(NamedTuple):
    """How files of one ending are written, and the packages that this and reading them takes beside the core's."""

    write: Callable[[torch.nn.Module, torch.Tensor, Path, dict[str, Any]], None]
    packages: tuple[str, ...] = ()


FORMATS = {
    ".onnx": Format(write_onnx, ("onnx", "onnxscript", "onnxruntime")),
    ".pt2": Format(write_torch),
}


class Agreement(NamedTuple):
    """Shares of pixels of each image that get the same label from the file as from the model."""

    shares: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.shares))

    @property
    def least(self) -> float:
        return min(self.shares)


def export(
    predictor: Predictor,
    path: Path,
    size: Size,
    images: Sequence[np.ndarray],
    *,
    level: str = "all",
    dynamic: bool = False,
    least: float = 0.999,
) -> Agreement:
    """Write a model for frames of one size; the file gets its name once it agrees with the model.

    Args:
        predictor: on the CPU.
        path: its ending, a key of `FORMATS`, says in which format.
        size: (height, width) of the frames.
        images: what is compared, uint8 `[H, W, 3]`, RGB; scaled to `size`.
        level: "all", or "image" for the image level alone.
        dynamic: whether the region level sees as many regions as there are, instead of always MAX_REGIONS.
        least: the share of equal labels, over all images, below which nothing is written.

    Raises:
        InputError: a part of the model cannot be exported, or the file does not agree with the model.
    """
    format_ = check_format(path)
    if not images:
        raise InputError("no image to check the export with")
    frames = [fitted(image, size) for image in images]
    graph, example = _prepared(predictor, level, dynamic, frames[0])
    with written_aside(path) as aside:
        format_.write(graph, example, aside, describe(predictor, graph, size))
        agreement = compare(predictor, load_exported(aside, device="cpu"), frames)
        if agreement.mean < least:
            raise InputError(
                f"{path}: not written, since only {100 * agreement.mean:.3f} % of its labels are the model's; try "
                "other images, or report it with the configuration"
            )
    return agreement


def check_format(path: Path) -> Format:
    """The format of a file's ending. Raises InputError where there is none, or what it takes is not installed."""
    if path.suffix not in FORMATS:
        raise InputError(f"{path}: name a file that ends in {' or '.join(FORMATS)}")
    format_ = FORMATS[path.suffix]
    missing = missing_packages(*format_.packages)
    if missing:
        raise InputError(f"{path}: exporting needs {', '.join(missing)}; pip install {' '.join(missing)}")
    return format_


def compare(predictor: Predictor, exported: ExportedModel, frames: Iterable[np.ndarray]) -> Agreement:
    """How well the file's labels agree with the model's on frames of the file's size."""
    shares = []
    for frame in frames:
        seen = predictor(frame)
        expected = seen.image_level if exported.metadata["level"] == "image" else seen.labels
        shares.append(float((exported.run(frame)["labels"] == expected).mean()))
    return Agreement(shares)


def describe(predictor: Predictor, graph: ImageLevelGraph | DualLevelGraph, size: Size) -> dict[str, Any]:
    """What the file tells about itself beside its graph."""
    import nightlab

    model = predictor.model
    dual = isinstance(graph, DualLevelGraph)
    return {
        "nightlab": nightlab.__version__,
        "torch": torch.__version__,
        "level": "all" if dual else "image",
        "input": "frame: uint8 [height, width, 3], RGB, not normalised",
        "outputs": list(graph.outputs),
        "size": list(size),
        "classes": list(predictor.classes),
        "colors": [list(color) for color in predictor.colors],
        "hard_classes": [predictor.classes[k] for k in model.hard_class_mask.nonzero()[:, 0].tolist()],
        "max_regions": model.max_regions if dual else 0,
        "dynamic_regions": dual and graph.dynamic,
        "merge": model.rule_in_force if dual else "",
        "preprocessing": {
            "in_the_graph": True,
            "fits_into": list(model.image_size),
            "mean": model.image_level.pixel_mean.flatten().tolist(),
            "std": model.image_level.pixel_std.flatten().tolist(),
        },
    }


def fitted(image: np.ndarray, size: Size) -> np.ndarray:
    """An image brought to (height, width), its aspect too."""
    if image.shape[:2] == size:
        return image
    smooth = cv2.INTER_AREA if image.shape[0] > size[0] else cv2.INTER_LINEAR
    return cv2.resize(image, (size[1], size[0]), interpolation=smooth)


def _prepared(
    predictor: Predictor, level: str, dynamic: bool, frame: np.ndarray
) -> tuple[ImageLevelGraph | DualLevelGraph, torch.Tensor]:
    """The graph of a copy of the model without operators that runtimes lack, and an example of its input."""
    model = copy.deepcopy(predictor.model).requires_grad_(False)
    replace_deformable(model)
    graph, example = build_graph(model, level, dynamic).eval(), torch.from_numpy(np.ascontiguousarray(frame))
    with torch.no_grad():
        # Once for real: matrices that `conv_of_resized` remembers must not be the exporter's stand-ins.
        graph(example)
    return graph, example
