"""A model from a file, for those who know no Detectron2. Importing this imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.errors import InputError, missing_packages
from nightlab.runtime.model import OnnxModel

if TYPE_CHECKING:
    from nightlab.checkpoint_model import CheckpointModel
    from nightlab.runtime.exported import ExportedModel

# The endings of tools/export.py's files.
EXPORTED = (".onnx", ".pt2")


def load(path: str | Path, config: str | Path = "", opts: Sequence[str] = ()) -> "ExportedModel | CheckpointModel":
    """A model that is called with an image file or an array `[H, W, 3]` (uint8, RGB) and returns a `Segmentation`.

    Args:
        path: an .onnx or .pt2 file of tools/export.py, or a checkpoint.
        config: of a checkpoint, its configuration; without it the config.yaml in its folder, which trainings write.
        opts: overrides of the configuration, as ("MODEL.NIGHTLAB.MAX_REGIONS", "5").

    Raises:
        InputError: a file is missing or no model, or what runs it is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such model; give an .onnx or .pt2 file or a checkpoint")
    if path.suffix in EXPORTED:
        return load_exported(path)
    _check_installed(path, "torch", "torchvision", "detectron2")
    from nightlab.checkpoint_model import CheckpointModel

    config = Path(config) if config else path.with_name("config.yaml")
    if not config.is_file():
        raise InputError(f"{config}: no such configuration; name the one that {path} was trained with as `config`")
    return CheckpointModel(path, config, opts)


def load_exported(path: Path, *, threads: int = 0, device: str = "") -> "ExportedModel":
    """The model of a file of tools/export.py.

    Args:
        path: its ending says what it is.
        threads: of onnxruntime; 0 is one for each core. An ONNX file runs on the GPU where onnxruntime has one.
        device: of a .pt2 file, by default the GPU where there is one.

    Raises:
        InputError: it is none of tools/export.py, or what runs it is not installed.
    """
    if path.suffix == ".onnx":
        return OnnxModel(path, threads=threads)
    if path.suffix == ".pt2":
        _check_installed(path, "torch", "torchvision")
        from nightlab.torch_model import TorchModel

        return TorchModel(path, device)
    raise InputError(f"{path}: no file of tools/export.py; name one that ends in {' or '.join(EXPORTED)}")


def _check_installed(path: Path, *packages: str) -> None:
    missing = missing_packages(*packages)
    if missing:
        raise InputError(
            f"{path}: needs {', '.join(missing)} to run; install NightLab as a whole (INSTALL.md), or export the model "
            "to an .onnx file, which needs none of that"
        )
