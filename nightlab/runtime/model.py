"""An exported model under onnxruntime."""

from pathlib import Path
from typing import Any

import numpy as np

from nightlab.errors import InputError, shortened
from nightlab.runtime.exported import ExportedModel
from nightlab.runtime.metadata import METADATA_KEY, check_interface, read_metadata

# The GPU where this onnxruntime has one.
PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxModel(ExportedModel):
    """An ONNX file of tools/export.py."""

    def __init__(self, path: str | Path, *, threads: int = 0):
        """`threads`: of onnxruntime, 0 for one a core. Raises InputError where the file is none of NightLab's."""
        if not Path(path).is_file():
            raise InputError(f"{path}: no such model; give an .onnx file")
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
            told = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        except Exception as error:  # onnxruntime's errors share no base class
            reason = shortened(str(error))
            raise InputError(f"{path}: onnxruntime cannot load it ({reason}); export it again") from None
        where = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        super().__init__(path, read_metadata(path, told), f"onnxruntime {onnxruntime.__version__}, {where}")
        check_interface(path, self.size, self._session)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        """The graph's outputs by their names, for a frame uint8 `[*size, 3]`, RGB."""
        try:
            values = self._session.run(None, {"frame": frame})
        except Exception as error:  # onnxruntime's errors share no base class
            raise InputError(
                f"{self.file}: onnxruntime cannot run it ({shortened(str(error))}); export it again"
            ) from None
        return dict(zip(self._outputs, values, strict=True))
