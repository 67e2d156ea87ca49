"""An exported model of torch.export, run by torch and torchvision, without Detectron2."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision  # noqa: F401  its operators: the graph names them

from nightlab.errors import InputError
from nightlab.runtime.exported import ExportedModel
from nightlab.runtime.metadata import METADATA_KEY, read_metadata


class TorchModel(ExportedModel):
    """A .pt2 file of tools/export.py. Only from where you would take a program: torch.export.load can run code."""

    def __init__(self, path: str | Path, device: str = ""):
        """`device`: by default the GPU where there is one. Raises InputError where the file is none of NightLab's."""
        self._device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        super().__init__(path, _told(Path(path)), f"torch {torch.__version__}, {self._device}")
        try:
            program = torch.export.load(path)
        except Exception as error:  # torch's errors share no base class
            raise InputError(
                f"{path}: torch {torch.__version__} cannot load it ({str(error).strip().splitlines()[0]}); it was "
                f"written by {self.metadata['torch']}: use that one, or export it again"
            ) from None
        if self._device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, self._device)
        self._graph = program.module()

    @torch.no_grad()
    def run(self, frame: np.ndarray) -> dict[str, np.ndarray]:
        values = self._graph(torch.from_numpy(frame).to(self._device))
        return {name: value.cpu().numpy() for name, value in zip(self.metadata["outputs"], values, strict=True)}


def _told(path: Path) -> dict[str, Any]:
    """What a file tells about itself, read without torch. Raises InputError where it is no file of ours."""
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(f"/extra/{METADATA_KEY}"))
            told = archive.read(name).decode()
    except (OSError, ValueError, zipfile.BadZipFile):
        raise InputError(f"{path}: not a model of NightLab's; make one with tools/export.py") from None
    return read_metadata(path, told)
