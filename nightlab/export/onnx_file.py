"""Writes a model as one ONNX file, and checks it against the model."""

import copy
import json
import logging
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from nightlab.errors import InputError
from nightlab.export.graph import DualLevelGraph, ImageLevelGraph, build_graph
from nightlab.export.layers import replace_deformable
from nightlab.files import written_aside
from nightlab.predictor import Predictor
from nightlab.runtime.metadata import METADATA_KEY
from nightlab.runtime.model import OnnxModel

# The first with bilinear grid sampling under that name; older than the newest that onnxruntime reads.
OPSET = 20
Size = tuple[int, int]


class Agreement(NamedTuple):
    """Shares of pixels of each image that get the same label from the file as from the model."""

    shares: list[float]

    @property
    def mean(self) -> float:
        return float(np.mean(self.shares))

    @property
    def least(self) -> float:
        return min(self.shares)


def export_onnx(
    predictor: Predictor,
    path: Path,
    size: Size,
    images: Sequence[np.ndarray],
    *,
    level: str = "all",
    least: float = 0.999,
) -> Agreement:
    """Write a model for frames of one size; the file gets its name once it agrees with the model.

    Args:
        predictor: on the CPU.
        size: (height, width) of the frames.
        images: what is compared, uint8 `[H, W, 3]`, RGB; scaled to `size`.
        level: "all", or "image" for the image level alone.
        least: the share of equal labels, over all images, below which nothing is written.

    Raises:
        InputError: a part of the model cannot be exported, or the file does not agree with the model.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise InputError(f"{path}: exporting needs {', '.join(missing)}; pip install {' '.join(missing)}")
    if not images:
        raise InputError("no image to check the export with")
    frames = [fitted(image, size) for image in images]
    graph, example = _prepared(predictor, level, frames[0])
    with written_aside(path) as aside:
        _write(graph, example, aside, describe(predictor, graph, size))
        agreement = compare(predictor, OnnxModel(aside), frames)
        if agreement.mean < least:
            raise InputError(
                f"{path}: not written, since only {100 * agreement.mean:.3f} % of its labels are the model's; try "
                "other images, or report it with the configuration"
            )
    return agreement


def compare(predictor: Predictor, exported: OnnxModel, frames: Iterable[np.ndarray]) -> Agreement:
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
        "level": "all" if dual else "image",
        "input": "frame: uint8 [height, width, 3], RGB, not normalised",
        "size": list(size),
        "classes": list(predictor.classes),
        "colors": [list(color) for color in predictor.colors],
        "hard_classes": [predictor.classes[k] for k in model.hard_class_mask.nonzero()[:, 0].tolist()],
        "max_regions": model.max_regions if dual else 0,
        "merge": model.merge_rule if dual else "",
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
    predictor: Predictor, level: str, frame: np.ndarray
) -> tuple[ImageLevelGraph | DualLevelGraph, torch.Tensor]:
    """The graph of a copy of the model without operators that runtimes lack, and an example of its input."""
    model = copy.deepcopy(predictor.model).requires_grad_(False)
    replace_deformable(model)
    graph, example = build_graph(model, level).eval(), torch.from_numpy(np.ascontiguousarray(frame))
    with torch.no_grad():
        # Once for real: matrices that `conv_of_resized` remembers must not be the exporter's stand-ins.
        graph(example)
    return graph, example


def _write(graph: torch.nn.Module, example: torch.Tensor, path: Path, metadata: dict[str, Any]) -> None:
    noisy = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in noisy]
    for logger in noisy:
        logger.setLevel(logging.ERROR)
    try:
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["frame"],
            output_names=list(graph.outputs),  # type: ignore[arg-type]
            verbose=False,
        )
    finally:
        for logger, before in zip(noisy, levels, strict=True):
            logger.setLevel(before)
    assert program is not None
    program.model.metadata_props[METADATA_KEY] = json.dumps(metadata)
    program.save(str(path), external_data=False)
