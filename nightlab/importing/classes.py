"""Which class of a foreign classifier becomes which of ours, by name."""

from collections.abc import Sequence

from nightlab.data.cityscapes import CLASSES as CITYSCAPES

# ADE20K's 150 classes, for checkpoints without names: those that roads have, with their numbers from 0.
ADE20K_SIZE = 150
ADE20K_NUMBERS = {
    "wall": 0,
    "building": 1,
    "sky": 2,
    "tree": 4,
    "road": 6,
    "grass": 9,
    "sidewalk": 11,
    "person": 12,
    "car": 20,
    "fence": 32,
    "signboard": 43,
    "bus": 80,
    "truck": 83,
    "pole": 93,
    "minibike": 116,
    "bicycle": 127,
    "traffic light": 136,
}
# Other names of Cityscapes' classes, as ADE20K and others have them.
SYNONYMS = {
    "sidewalk": ("pavement",),
    "vegetation": ("tree",),
    "terrain": ("grass",),
    "traffic sign": ("signboard", "sign"),
    "person": ("pedestrian",),
    "motorcycle": ("minibike", "motorbike"),
    "bicycle": ("bike",),
    "pole": ("column pole",),
}


def names_of(count: int, given: Sequence[str]) -> tuple[str, ...]:
    """The names of `count` classes: `given`, or else Cityscapes' for 19 and ADE20K's for 150; empty where unknown."""
    if len(given) == count:
        return tuple(map(_plain, given))
    if count == len(CITYSCAPES):
        return CITYSCAPES
    if count == ADE20K_SIZE:
        names = [""] * count
        for name, number in ADE20K_NUMBERS.items():
            names[number] = name
        return tuple(names)
    return ()


def matches(theirs: Sequence[str], ours: Sequence[str]) -> dict[int, int]:
    """Our class number to theirs, where the names agree (or a synonym does); ours without one are left out."""
    numbers = {name: number for number, name in reversed(list(enumerate(theirs))) if name}
    found = {}
    for number, name in enumerate(map(_plain, ours)):
        candidates = [name, *SYNONYMS.get(name, ())]
        hit = next((numbers[candidate] for candidate in candidates if candidate in numbers), None)
        if hit is not None:
            found[number] = hit
    return found


def _plain(name: str) -> str:
    """Lower case, one name of several: "Signboard, sign" becomes "signboard", "traffic_light" "traffic light"."""
    return " ".join(name.split(",")[0].replace("_", " ").replace("-", " ").lower().split())
