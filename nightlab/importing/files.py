"""Reading checkpoints of other projects, with the class names that come along, and writing ours; no code is run."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor

from nightlab.errors import InputError, shortened
from nightlab.files import read_limited, written_aside
from nightlab.modeling.weights import MoreThanTensors, read_state_dict

IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")
WRAPPERS = ("state_dict", "model")
# Of checkpoints that hold more than tensors, and of detectron2's .pkl.
REMEDY = (
    'c = torch.load(FILE, weights_only=False); torch.save(c.get("state_dict") or c["model"], NEW_FILE)',
    'torch.save({k: torch.tensor(v) for k, v in pickle.load(open(FILE, "rb"))["model"].items()}, NEW_FILE)',
)
MAX_CONFIG_BYTES = 10_000_000

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Checkpoint:
    """What was read.

    Attributes:
        tensors: by key.
        classes: their names, where the file or a config.json beside it gives them.
        pool_scales: of the pyramid pooling, where that config.json gives them.
        unread: other entries of the file, by name.
    """

    file: Path
    tensors: dict[str, Tensor]
    classes: tuple[str, ...] = ()
    pool_scales: tuple[int, ...] = ()
    unread: tuple[str, ...] = ()


def tells_misfits(work: Callable[Concatenate[Checkpoint, P], R]) -> Callable[Concatenate[Checkpoint, P], R]:
    """For what works on a checkpoint's tensors: whatever goes wrong because they fit nowhere becomes an InputError."""

    @wraps(work)
    def told(checkpoint: Checkpoint, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(checkpoint, *args, **kwargs)
        except InputError:
            raise
        except (RuntimeError, TypeError, ValueError, LookupError, ArithmeticError, AssertionError) as error:
            reason = shortened(str(error), 200) or type(error).__name__
            raise InputError(f"{checkpoint.file}: its tensors do not fit together ({reason}); is it whole?") from error

    return told


def read_source(path: Path) -> Checkpoint:
    """A .safetensors, .pth, .pt or .bin file, or a folder that holds one under transformers' names.

    Raises:
        InputError: there is none, it cannot be read without running code, it holds no tensors, or something else among
            them.
    """
    if path.is_dir():
        found = [path / name for name in IN_FOLDERS if (path / name).is_file()]
        if not found:
            raise InputError(f"{path}: holds neither {' nor '.join(IN_FOLDERS)}; name the weights file itself")
        path = found[0]
    try:
        content = read_state_dict(path)
    except MoreThanTensors as error:
        raise InputError(f"{error}; if you trust it: {REMEDY[path.suffix == '.pkl']}") from error
    state: Mapping[Any, Any] = content
    unread: list[str] = []
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            unread += [str(key) for key in state if key != wrapper]
            state = state[wrapper]
    others = [key for key, value in state.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if others and state is not content:
        kind = type(state[others[0]]).__name__
        raise InputError(f"{path}: among its tensors, {others[0]!r} is a {kind}; save tensors alone")
    tensors = {key.removeprefix("module."): value for key, value in state.items() if key not in others}
    if not tensors:
        raise InputError(f"{path}: holds no tensors")
    classes, pool_scales = _told(content, path)
    return Checkpoint(path, tensors, classes, pool_scales, (*unread, *map(str, others)))


def _told(content: Mapping[str, Any], path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Class names and pool scales: from mmsegmentation's meta, or from the config.json that transformers writes."""
    meta = content.get("meta")
    if isinstance(meta, Mapping):
        data = meta.get("dataset_meta")
        names = data.get("classes") if isinstance(data, Mapping) else meta.get("CLASSES")
        return (tuple(map(str, names)) if isinstance(names, list | tuple) else ()), ()
    config = path.with_name("config.json")
    if path.name not in IN_FOLDERS or not config.is_file():
        return (), ()
    try:
        told = json.loads(read_limited(config, MAX_CONFIG_BYTES).decode("utf-8"))
        labels = told.get("id2label", {})
        names = tuple(str(labels[str(i)]) for i in range(len(labels)))
        scales = tuple(int(scale) for scale in told.get("pool_scales") or ())
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InputError(
            f"{config}: its id2label or pool_scales cannot be read ({error}); remove the file to go on"
        ) from error
    # Placeholders that transformers writes where nobody gave names.
    return (() if any(name.startswith("LABEL_") for name in names) else names), scales


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A .safetensors file, or a .pth or .pt file as Detectron2 writes them (tensors under "model").

    Raises:
        InputError: the file has another suffix or cannot be written.
    """
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise InputError(f"{path}: name a file that ends in .safetensors, .pth or .pt")
    own = {key: value.detach().contiguous().clone() for key, value in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_aside(path) as aside:
            if path.suffix == ".safetensors":
                save_file(own, aside)
            else:
                torch.save({"model": own}, aside)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error})") from error
