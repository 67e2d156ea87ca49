"""Where the tensors of an imported checkpoint went, as a table for people."""

import re
from collections import Counter
from collections.abc import Sequence

from tabulate import tabulate

from nightlab.importing.convert import Placement


def placement_table(placements: Sequence[Placement], every: bool = False) -> str:
    """One row for each part of the model and each thing that was done; with `every`, one for each tensor."""
    if every:
        rows = [[p.theirs or "-", p.ours or "left out", p.note] for p in placements]
        return tabulate(rows, headers=["there", "here", "note"], tablefmt="simple")
    counts = Counter((_part(p.theirs), _part(p.ours), p.note) for p in placements)
    rows = [[there or "-", here or "left out", str(n), note] for (there, here, note), n in counts.items()]
    table = tabulate(rows, headers=["there", "here", "tensors", "note"], tablefmt="simple", disable_numparse=True)
    there = sum(1 for p in placements if p.theirs)
    left = sum(1 for p in placements if p.theirs and not p.ours)
    fresh = sum(1 for p in placements if not p.theirs)
    return f"{table}\n{there} tensors there: {there - left} taken, {left} left out; {fresh} here are not from the file"


def _part(key: str) -> str:
    """A key without what lies inside a block or a convolution unit: `backbone.layers.2.blocks.0.mlp.fc1.weight`
    becomes `backbone.layers.2.blocks`."""
    names = key.split(".")[:-1]
    for place, name in enumerate(names):
        if name == "blocks":
            return ".".join(names[: place + 1])
    return re.sub(r"(\.\d+)*$", "", ".".join(names[:3])) if names else key
