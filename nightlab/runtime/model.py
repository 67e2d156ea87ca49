"""An exported model under onnxruntime."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from nightlab.errors import InputError
from nightlab.runtime.exported import METADATA_KEY, ExportedModel

# The GPU where this onnxruntime has one.
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxModel(ExportedModel):
    """An ONNX file of tools/export.py."""

    def __init__(self, path: str | Path, *, threads: int = 0):
        """`threads`: of onnxruntime, 0 for one a core. Raises InputError where the file is none of NightLab's."""
        try:
            import onnxruntime
        except ModuleNotFoundError:
            raise InputError(f"{path}: needs onnxruntime to run; pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            providers = [name for name in PROVIDERS if name in onnxruntime.get_available_providers()]
            self._session: Any = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # onnxruntime's errors share no base class
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path}: onnxruntime cannot load it ({reason}); export it again") from None
        told = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        if told is None:
            raise InputError(f"{path}: not a model of NightLab's; make one with tools/export.py")
        where = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        super().__init__(json.loads(told), f"onnxruntime {onnxruntime.__version__}, {where}")
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs by their names, for a frame uint8 `[*size, 3]`, RGB."""
        return dict(zip(self._outputs, self._session.run(None, {"frame": frame}), strict=True))
