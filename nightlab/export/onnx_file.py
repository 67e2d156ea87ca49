"""A graph as an ONNX file."""

import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nightlab.runtime.metadata import METADATA_KEY

# The first with bilinear grid sampling under that name; older than the newest that onnxruntime reads.
OPSET = 20


def write_onnx(graph: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any]) -> None:
    """`graph`, of constants and parameters that want no gradient, for inputs of the shape of `example`."""
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
            output_names=metadata["outputs"],
            verbose=False,
        )
    finally:
        for logger, before in zip(noisy, levels, strict=True):
            logger.setLevel(before)
    assert program is not None
    program.model.metadata_props[METADATA_KEY] = json.dumps(metadata)
    program.save(str(path), external_data=False)
