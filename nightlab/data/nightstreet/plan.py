"""The plan of a street: its character, lanes, kerbs, verges, junction and how it bends, drawn at random."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import mesh as m
from .raster import Camera

URBAN, AVENUE, SUBURB, OUTSKIRTS = range(4)
LANE, BAY = 3.3, 2.2
"""Width in metres of a lane and of a row of parked cars."""


class Dice:
    """Short names for the draws a layout needs, in a fixed order from one generator."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.rng.random())

    def chance(self, probability: float) -> bool:
        return float(self.rng.random()) < probability

    def whole(self, low: int, high: int) -> int:
        """An integer from ``low`` to ``high``, both included."""
        return low + int((high - low + 1) * float(self.rng.random()))

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(len(items) * float(self.rng.random()))]

    def tint(self, color: Sequence[float], spread: float = 0.25) -> tuple[float, float, float]:
        """A colour near ``color``: brighter or darker as a whole, and a little in each channel."""
        level = self.uniform(1 - spread, 1 + spread)
        return tuple(min(0.9, c * level * self.uniform(0.93, 1.07)) for c in color)  # type: ignore[return-value]


@dataclass(frozen=True)
class Strip:
    """A band of ground along the road, ``inner`` to ``outer`` metres beyond the kerb."""

    label: int
    inner: float
    outer: float


@dataclass(frozen=True)
class Side:
    """One side of the street: ``sign`` +1 right, -1 left; ``kerb`` and ``front`` (houses) are distances from x = 0."""

    sign: int
    kerb: float
    front: float
    bay: bool
    strips: tuple[Strip, ...]
    boundary: int | None
    trees: bool

    def walk(self) -> tuple[float, float]:
        """Distances from x = 0 between which people walk."""
        strip = next((s for s in self.strips if s.label == m.SIDEWALK), self.strips[0])
        return self.kerb + strip.inner, self.kerb + strip.outer

    def verge(self) -> float:
        """Distance from x = 0 of what lines the kerb: posts, trees, parked bicycles."""
        first = self.strips[0]
        return self.kerb + (0.5 * first.outer if first.label == m.TERRAIN else 0.55)


@dataclass(frozen=True)
class Plan:
    """All that the makers of ground, buildings, furniture and traffic must agree on."""

    style: int
    camera: Camera
    bend: float
    lanes_right: int
    lanes_left: int
    tram: bool
    left: Side
    right: Side
    junction: tuple[float, float] | None
    end: float
    bonnet: float

    def shift(self, z: float | np.ndarray) -> Any:
        """How far the road has swung aside at depth z; straight on after 150 m."""
        near = np.minimum(z, 150.0)
        return self.bend * (near * near + 300.0 * (z - near))

    def at(self, side: Side, distance: float, z: float) -> float:
        """The x of a point ``distance`` metres from the ego lane's middle on one side."""
        return float(side.sign * distance + self.shift(z))

    def clear(self, z: float, margin: float = 1.5) -> bool:
        """Whether depth z lies outside the junction."""
        return self.junction is None or not self.junction[0] - margin < z < self.junction[1] + margin


def draw_plan(dice: Dice) -> Plan:
    """A street at random."""
    style = (URBAN, AVENUE, SUBURB, OUTSKIRTS)[int(np.searchsorted([0.46, 0.64, 0.88], float(dice.rng.random())))]
    camera = Camera(dice.uniform(1.25, 1.6), dice.uniform(1.3, 1.65), dice.uniform(0.4, 0.48))
    bend = dice.uniform(-1, 1) ** 3 * 0.0012 if style != OUTSKIRTS else dice.uniform(-0.0012, 0.0012)
    lanes_right = 2 if style == AVENUE or dice.chance(0.25) else 1
    lanes_left = 2 if dice.chance(0.3) else 1
    tram = dice.chance(0.22 if style == AVENUE else 0.07 if style == URBAN else 0.0)
    left = _draw_side(dice, style, -1, LANE * (lanes_left + 0.5) + (3.2 if tram else 0.3))
    right = _draw_side(dice, style, 1, LANE * (lanes_right - 0.5))
    junction = None
    if dice.chance(0.5):
        near = dice.uniform(14, 45)
        junction = (near, near + dice.uniform(7, 13))
    bonnet = dice.uniform(0.05, 0.11) if dice.chance(0.3) else 0.0
    return Plan(
        style, camera, bend, lanes_right, lanes_left, tram, left, right, junction, dice.uniform(110, 190), bonnet
    )


def _draw_side(dice: Dice, style: int, sign: int, lanes: float) -> Side:
    bay = style in (URBAN, AVENUE) and dice.chance(0.6) or style == SUBURB and dice.chance(0.35)
    kerb = lanes + (BAY if bay else dice.uniform(0.2, 0.7))
    walk = {URBAN: dice.uniform(2.6, 5.0), AVENUE: dice.uniform(2.6, 5.0), SUBURB: dice.uniform(1.4, 2.2)}.get(
        style, 1.6
    )
    verge = {URBAN: 0.15, AVENUE: 0.65, SUBURB: 0.6, OUTSKIRTS: 0.85}[style]
    strips, x = [], 0.0
    if dice.chance(verge):
        x = dice.uniform(1.0, 2.6) if style != OUTSKIRTS else dice.uniform(1.5, 4.0)
        strips.append(Strip(m.TERRAIN, 0.0, x))
    if style != OUTSKIRTS or dice.chance(0.4):
        strips.append(Strip(m.SIDEWALK, x, x + walk))
        x += walk
    garden = {URBAN: 0.0, AVENUE: 0.0, SUBURB: dice.uniform(2.5, 6.0), OUTSKIRTS: dice.uniform(4.0, 12.0)}[style]
    if garden:
        strips.append(Strip(m.TERRAIN, x, x + garden + 30))
    boundary = None
    if style in (SUBURB, OUTSKIRTS) and dice.chance(0.85):
        boundary = dice.pick((m.FENCE, m.WALL, m.VEGETATION, m.FENCE, m.WALL))
    elif dice.chance(0.16):
        boundary = dice.pick((m.FENCE, m.WALL))
    trees = dice.chance({URBAN: 0.6, AVENUE: 0.95, SUBURB: 0.9, OUTSKIRTS: 0.8}[style])
    return Side(sign, kerb, kerb + x + garden, bay, tuple(strips), boundary, trees)
