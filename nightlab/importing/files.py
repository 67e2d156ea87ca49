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
from nightlab.modeling.weights import read_state_dict

IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")
WRAPPERS = ("state_dict", "model")
# Of checkpoints that hold more than tensors, and of detectron2's .pkl.
REMEDY = (
    'torch.save(torch.load(FILE, weights_only=False)["state_dict"], NEW_FILE)',
    'torch.save({k: torch.tensor(v) for k, v in pickle.load(open(FILE, "rb"))["model"].items()}, NEW_FILE)',
)
MAX_CONFIG_BYTES = 10_000_000

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by key, and the names of the classes where the file (or a config.json beside it) gives them."""

    file: Path
    tensors: dict[str, Tensor]
    classes: tuple[str, ...]


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
        InputError: there is none, it cannot be read without running code, or it holds no tensors.
    """
    if path.is_dir():
        found = [path / name for name in IN_FOLDERS if (path / name).is_file()]
        if not found:
            raise InputError(f"{path}: holds neither {' nor '.join(IN_FOLDERS)}; name the weights file itself")
        path = found[0]
    try:
        content = read_state_dict(path)
    except InputError as error:
        if path.is_file() and path.suffix != ".safetensors":
            raise InputError(f"{error}; if you trust it: {REMEDY[path.suffix == '.pkl']}") from error
        raise
    state: Mapping[str, Any] = content
    for wrapper in WRAPPERS:
        if isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    named = ((key, value) for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor))
    tensors = {key.removeprefix("module."): value for key, value in named}
    if not tensors:
        raise InputError(f"{path}: holds no tensors")
    return Checkpoint(path, tensors, _classes(content, path))


def _classes(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """From mmsegmentation's meta, or from the config.json that transformers puts beside its weights."""
    meta = content.get("meta")
    if isinstance(meta, Mapping):
        data = meta.get("dataset_meta")
        names = data.get("classes") if isinstance(data, Mapping) else meta.get("CLASSES")
        return tuple(map(str, names)) if isinstance(names, list | tuple) else ()
    config = path.with_name("config.json")
    if path.name not in IN_FOLDERS or not config.is_file():
        return ()
    try:
        labels = json.loads(read_limited(config, MAX_CONFIG_BYTES).decode("utf-8")).get("id2label", {})
        names = tuple(str(labels[str(i)]) for i in range(len(labels)))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InputError(f"{config}: its id2label cannot be read ({error}); remove the file to go on") from error
    # Placeholders that transformers writes where nobody gave names.
    return () if any(name.startswith("LABEL_") for name in names) else names


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
