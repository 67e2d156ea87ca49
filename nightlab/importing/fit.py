"""Converted tensors put into a model: bias tables resized, classes matched by name, shapes checked."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from timm.layers import resize_rel_pos_bias_table
from torch import Tensor

from nightlab.errors import InputError
from nightlab.importing.classes import matches, names_of
from nightlab.importing.convert import Placement, convert
from nightlab.importing.files import Checkpoint, tells_misfits
from nightlab.importing.rules import Source
from nightlab.importing.sources import TABLE
from nightlab.modeling import NightLab

# What a segmentor may lack: it is of the classes, of training alone, or as if it were not there at its start.
_MAY_START_AFRESH = re.compile(r"aux_head\..*|light.*|.*\.(classifier|predictor|offset)\.\w+|.*\.num_batches_tracked")


@tells_misfits
def import_segmentor(
    checkpoint: Checkpoint, source: Source, model: NightLab, classes: Sequence[str]
) -> tuple[dict[str, Tensor], list[Placement]]:
    """The complete state of `model` with its image level taken from `checkpoint`; the model itself is left as it is.

    Args:
        classes: names of the model's classes; empty where unknown.

    Raises:
        InputError: a tensor has no known place, or another shape than the model's; or one is missing that is not of a
            classifier, the auxiliary head, the light adaptation or offsets.
    """
    converted = convert(checkpoint, source)
    own = model.image_level.state_dict()
    tensors = dict(converted.tensors)
    notes = {}
    for key in converted.classifier:
        if key in own:
            tensors[key], notes[key] = _classifier(tensors[key], own[key], checkpoint.classes, classes)
    fitted, resized = _fit(checkpoint, tensors, model.image_level.backbone, own, "backbone.body.")
    notes |= resized
    fresh = [key for key in own if key not in fitted]
    missing = [key for key in fresh if not _MAY_START_AFRESH.match(key)]
    if missing:
        raise InputError(
            f"{checkpoint.file}: {len(missing)} tensors of the model are missing, as {missing[0]}; is the file whole, "
            "and does the configuration describe its model?"
        )
    placements = [_noted(p, notes, own) for p in converted.placements]
    placements += [Placement("", f"image_level.{key}", "not in the file: starts afresh") for key in fresh]
    state = model.state_dict()
    placements += [
        Placement("", key, "not the image level's: as built") for key in state if not key.startswith("image_level.")
    ]
    return {**state, **{f"image_level.{key}": value for key, value in fitted.items()}}, placements


@tells_misfits
def import_backbone(checkpoint: Checkpoint, source: Source, backbone: Any) -> tuple[dict[str, Tensor], list[Placement]]:
    """The state of timm's model in `backbone` (a `TimmBackbone`) from ImageNet weights, for MODEL.TIMM.WEIGHTS.

    Raises:
        InputError: as `import_segmentor`.
    """
    converted = convert(checkpoint, source)
    tensors = {key.removeprefix("backbone.body."): value for key, value in converted.tensors.items()}
    own = backbone.body.state_dict()
    fitted, notes = _fit(checkpoint, tensors, backbone, own, "")
    missing = [key for key in own if key not in fitted]
    if missing:
        raise InputError(f"{checkpoint.file}: {len(missing)} tensors of the backbone are missing, as {missing[0]}")
    placements = []
    for p in converted.placements:
        ours = p.ours.removeprefix("backbone.body.")
        placements.append(Placement(p.theirs, ours, notes.get(ours) or p.note))
    return fitted, placements


def _fit(
    checkpoint: Checkpoint, tensors: Mapping[str, Tensor], backbone: Any, own: Mapping[str, Tensor], prefix: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Those of `tensors` that `own` has, bias tables resized; and what was done to which."""
    notes: dict[str, str] = {}
    fitted = {}
    for key, value in tensors.items():
        if key not in own:
            if key.startswith("aux_head."):
                continue  # named as left out: the configuration has no such head
            raise InputError(
                f"{checkpoint.file}: the model has no place for {key}; does the configuration describe the same model?"
            )
        if key.endswith(TABLE) and value.shape != own[key].shape:
            window = backbone.body.get_submodule(key.removeprefix(prefix).rpartition(".")[0]).window_size
            value = _resized(value, own[key], window)
            notes[key] = f"resized to a window of {window[0]}"
        if value.shape != own[key].shape:
            raise InputError(
                f"{checkpoint.file}: {key} is {tuple(value.shape)} there and {tuple(own[key].shape)} in the model; "
                "leave --config-file out, or name a configuration of the same size"
            )
        fitted[key] = value.to(own[key].dtype)
    return fitted, notes


def _resized(table: Tensor, own: Tensor, window: tuple[int, int]) -> Tensor:
    """A relative position bias table `[(2 w - 1)^2, heads]` for another window; unchanged where heads differ."""
    if table.ndim != 2 or table.shape[1] != own.shape[1]:
        return table
    return resize_rel_pos_bias_table(table.float(), new_window_size=window, new_bias_shape=tuple(own.shape))


def _classifier(theirs: Tensor, own: Tensor, given: Sequence[str], ours: Sequence[str]) -> tuple[Tensor, str]:
    """Rows of a classifier by class name; rows without a match keep the start of `own`, and the note names them."""
    names = names_of(len(theirs), given)
    if not names or len(ours) != len(own):
        if len(theirs) == len(own) and not ours:
            return theirs, "classes unnamed: taken in their order"
        unknown = "" if len(ours) == len(own) else ", whose names are unknown: name their data in DATASETS.TRAIN"
        there = f"{len(theirs)} classes there{'' if names else ' whose names are unknown'}"
        return own, f"starts afresh: {there}, {len(own)} here{unknown}"
    if theirs.shape[1:] != own.shape[1:]:
        return theirs, ""  # of another width: refused later, with both shapes
    found = matches(names, ours)
    value = own.clone().to(theirs.dtype)
    for row, row_there in found.items():
        value[row] = theirs[row_there]
    source = "names from the file" if len(given) == len(theirs) else f"names assumed, as there are {len(theirs)}"
    fresh = [name for row, name in enumerate(ours) if row not in found]
    note = f"{len(found)} of {len(ours)} classes matched, {source}"
    return value, note + (f"; afresh: {', '.join(fresh)}" if fresh else "")


def _noted(placement: Placement, notes: Mapping[str, str], own: Mapping[str, Tensor]) -> Placement:
    """With the model's own key, and what was done to the values."""
    if not placement.ours:
        return placement
    if placement.ours not in own:
        return Placement(placement.theirs, "", "the configuration has no auxiliary head")
    return Placement(placement.theirs, f"image_level.{placement.ours}", notes.get(placement.ours) or placement.note)
