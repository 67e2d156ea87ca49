"""A foreign checkpoint's tensors under NightLab's names and in its order, each one accounted for."""

from dataclasses import dataclass

import torch
from torch import Tensor

from nightlab.errors import InputError
from nightlab.importing.files import Checkpoint, tells_misfits
from nightlab.importing.rules import Source

QKV = ("query", "key", "value")


@dataclass(frozen=True)
class Placement:
    """Where one tensor went: its key there (empty: it starts afresh), its key here (empty: left out), and why."""

    theirs: str
    ours: str
    note: str = ""


@dataclass(frozen=True)
class Converted:
    """Tensors under the names of a `Segmentor`, where each came from, and the classifier's keys."""

    tensors: dict[str, Tensor]
    placements: list[Placement]
    classifier: tuple[str, ...]


@tells_misfits
def convert(checkpoint: Checkpoint, source: Source) -> Converted:
    """All tensors renamed and reordered; shapes are still theirs.

    Raises:
        InputError: a tensor has no known place, or parts of one are missing or do not fit together.
    """
    tensors: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    placements = []
    classifier = []
    for key, value in checkpoint.tensors.items():
        found = source.rule(key)
        if found is None:
            raise InputError(
                f"{checkpoint.file}: {source.name}, but nothing is known of its tensor {key} {tuple(value.shape)}; "
                "remove it from the file if the model can do without"
            )
        rule, ours = found
        note = rule.note
        if rule.change in QKV:
            parts.setdefault(ours, {})[rule.change] = value
            note = "query, key and value joined"
        elif ours:
            tensors[ours] = unfold_to_official(value) if rule.change == "unfold" else value
            note = "channels reordered" if rule.change == "unfold" else note
        if rule.change == "classifier":
            classifier.append(ours)
        placements.append(Placement(key, ours, note))
    for ours, by_part in parts.items():
        if set(by_part) != set(QKV):
            raise InputError(f"{checkpoint.file}: only {', '.join(by_part)} of {ours}; the file is incomplete")
        tensors[ours] = torch.cat([by_part[part] for part in QKV])
    return Converted(tensors, placements, tuple(classifier))


def unfold_to_official(value: Tensor) -> Tensor:
    """Patch merging's norm `[4 C]` or matrix `[O, 4 C]` from mmsegmentation's channel order to the official one.

    There the input is `nn.Unfold`'s: channel, row, column. Here, as in the official Swin: column, row, channel.
    """
    lead = value.shape[:-1]
    return value.reshape(*lead, -1, 2, 2).transpose(-1, -3).reshape(value.shape)
