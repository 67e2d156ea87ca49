"""A graph as a file of torch.export."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nightlab.runtime.metadata import METADATA_KEY


def write_torch(graph: nn.Module, example: Tensor, path: Path, metadata: dict[str, Any]) -> None:
    """As `write_onnx`. The file holds no pickle, nor anything of the machine that it was written on."""
    with torch.no_grad():
        program = torch.export.export(graph, (example,), strict=False)
    for name, constant in program.constants.items():
        if isinstance(constant, Tensor):
            # Of its own memory: torch does not read back what it wrote of constants that are views.
            program.constants[name] = constant.clone(memory_format=torch.contiguous_format)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders
        if node.target is torch.ops.aten._assert_tensor_metadata.default:  # holds on the exporting device only
            program.graph.erase_node(node)
    program.example_inputs = None  # would be pickled
    torch.export.save(program, path, extra_files={METADATA_KEY: json.dumps(metadata)})
