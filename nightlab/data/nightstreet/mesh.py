"""Meshes of flat polygons, of which all objects are made, and the labels, materials and paints that they share.

Local axes in metres: x right, y up from the ground, z forward (away from the camera unless the object is turned).
Colours are linear reflectances in [0, 1].
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ROAD, SIDEWALK, BUILDING, WALL, FENCE, POLE, LIGHT, SIGN, VEGETATION, TERRAIN = range(10)
SKY, PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = range(10, 19)
VEHICLES = (CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE)
VOID = 255

PLAIN, ASPHALT, PAVING, GRASS, PLASTER, BRICK, FOLIAGE, BARS, MESH, SPOKES, RETRO, GLOSS = range(12)
"""Materials: ``BARS``, ``MESH``, ``SPOKES`` are seen through; ``RETRO`` throws light back; ``GLOSS`` mirrors sky."""
SEE_THROUGH = (BARS, MESH, SPOKES)

OWN_SLOTS = 4
"""Paint slots 0..3 belong to the instance; the names below are fixed."""
TYRE, GLASS, PLASTIC, CHROME, PLATE, SKIN, HAIR, SHOE, WHITE, RED, BLUE, YELLOW, STEEL, LEATHER, BARK = range(4, 19)
FIXED_PAINT = np.array(
    [
        [0.025, 0.025, 0.027],
        [0.035, 0.042, 0.05],
        [0.03, 0.03, 0.032],
        [0.42, 0.42, 0.44],
        [0.7, 0.7, 0.66],
        [0.42, 0.25, 0.17],
        [0.045, 0.03, 0.02],
        [0.04, 0.035, 0.03],
        [0.75, 0.75, 0.75],
        [0.55, 0.03, 0.03],
        [0.03, 0.1, 0.45],
        [0.75, 0.5, 0.04],
        [0.2, 0.21, 0.22],
        [0.05, 0.04, 0.035],
        [0.075, 0.055, 0.04],
    ],
    np.float32,
)

DARK, HEAD, TAIL, BRAKE, INTERIOR, DISPLAY, LAMP_RED, LAMP_AMBER, LAMP_GREEN, STREET = range(10)
"""Glow slots: which light, if any, a face gives off; the instance says how bright each is."""
GLOWS = 10


@dataclass(frozen=True)
class Mesh:
    """Polygons in painter's order.

    Attributes:
        corners: float32 ``[M, 3]``, the corners of all polygons one after another.
        counts: int ``[F]``, corners of each polygon.
        label, slot, glow, material: int ``[F]``, class, paint slot, glow slot and material of each polygon.
        two_sided: bool ``[F]``; the others are seen only from where their corners run clockwise.
        fuzzy: bool ``[F]``, lit alike from all sides, as foliage is.
        pane: int ``[F]``, for a building the number of its windows in ``World.windows``, from 1; 0 for a bare surface.
        shade: float32 ``[F]``, factor on paint and glow.
        low, high: float32 ``[3]``, the box around all corners.
    """

    corners: np.ndarray
    counts: np.ndarray
    label: np.ndarray
    slot: np.ndarray
    glow: np.ndarray
    material: np.ndarray
    two_sided: np.ndarray
    fuzzy: np.ndarray
    pane: np.ndarray
    shade: np.ndarray
    low: np.ndarray
    high: np.ndarray


Point = Sequence[float]


class MeshBuilder:
    """Collects polygons, then ``build()`` freezes them. ``label`` is the class of what is added next."""

    def __init__(self, label: int, two_sided: bool = False):
        self.label = label
        self.two_sided = two_sided
        self._corners: list[np.ndarray] = []
        self._faces: list[tuple] = []

    def face(
        self,
        points: Sequence[Any] | np.ndarray,
        slot: int = 0,
        *,
        glow: int = DARK,
        material: int = PLAIN,
        shade: float = 1.0,
        fuzzy: bool = False,
        pane: int = 0,
        label: int | None = None,
        two_sided: bool | None = None,
    ) -> None:
        """Add one polygon (``[n, 3]`` corners, or ``[n, 2]`` in the plane z = 0)."""
        corners = np.asarray(points, np.float32)
        if corners.shape[1] == 2:
            corners = np.column_stack([corners, np.zeros(len(corners), np.float32)])
        self._corners.append(corners)
        sides = self.two_sided if two_sided is None else two_sided
        self._faces.append((self.label if label is None else label, slot, glow, material, sides, fuzzy, pane, shade))

    def box(self, x: Point, y: Point, z: Point, slot: int, *, top: bool = True, **kwargs: Any) -> None:
        """The outer faces of an upright box but its bottom; ``x``, ``y``, ``z`` are (low, high)."""
        (x0, x1), (y0, y1), (z0, z1) = x, y, z
        self.wall((x0, z0), (x1, z0), y0, y1, slot, **kwargs)
        self.wall((x1, z0), (x1, z1), y0, y1, slot, **kwargs)
        self.wall((x1, z1), (x0, z1), y0, y1, slot, **kwargs)
        self.wall((x0, z1), (x0, z0), y0, y1, slot, **kwargs)
        if top:
            self.face([(x0, y1, z1), (x1, y1, z1), (x1, y1, z0), (x0, y1, z0)], slot, **kwargs)

    def wall(self, a: Point, b: Point, y0: float, y1: float, slot: int, **kwargs: Any) -> None:
        """An upright rectangle over the ground line from ``a`` = (x, z) to ``b``, seen with ``a`` at its left."""
        self.face([(a[0], y0, a[1]), (a[0], y1, a[1]), (b[0], y1, b[1]), (b[0], y0, b[1])], slot, **kwargs)

    def limb(self, a: Point, b: Point, width_a: float, width_b: float, slot: int, **kwargs: Any) -> None:
        """A tapered bar with cut corners in the plane z = 0 from ``a`` to ``b``."""
        pa, pb = np.asarray(a, np.float32), np.asarray(b, np.float32)
        along = (pb - pa) / max(float(np.hypot(*(pb - pa))), 1e-6)
        across = np.array([along[1], -along[0]])
        wa, wb = 0.5 * width_a, 0.5 * width_b
        ends = [pa + across * wa, pa + along * -wa * 0.7 + across * wa * 0.5, pa - along * wa * 0.7 - across * wa * 0.5]
        ends += [pa - across * wa, pb - across * wb, pb + along * wb * 0.7 - across * wb * 0.5]
        ends += [pb + along * wb * 0.7 + across * wb * 0.5, pb + across * wb]
        self.face(ends, slot, **kwargs)

    def disc(self, center: Point, radius: Point | float, slot: int, n: int = 10, **kwargs: Any) -> None:
        """An ellipse in the plane z = 0."""
        self.face(ellipse(center, radius, n), slot, **kwargs)

    def ring(self, center: Point, radius: float, inner: float, slot: int, n: int = 14, **kwargs: Any) -> None:
        """A ring in the plane z = 0: one outline out and back, whose hole the even-odd fill leaves free."""
        outer, hole = ellipse(center, radius, n), ellipse(center, inner, n)
        self.face(np.concatenate([outer, outer[:1], hole[::-1][-1:], hole[::-1]]), slot, **kwargs)

    def build(self) -> Mesh:
        """The mesh of everything added so far."""
        counts = np.array([len(c) for c in self._corners], np.int64)
        corners = np.concatenate(self._corners)
        label, slot, glow, material, two_sided, fuzzy, pane, shade = map(np.array, zip(*self._faces, strict=True))
        shade = shade.astype(np.float32)
        return Mesh(
            corners, counts, label, slot, glow, material, two_sided, fuzzy, pane, shade, corners.min(0), corners.max(0)
        )


def ellipse(center: Point, radius: Point | float, n: int) -> np.ndarray:
    """``[n, 2]`` points around ``center``, clockwise from the top."""
    rx, ry = (radius, radius) if isinstance(radius, (int, float)) else radius
    angle = np.arange(n) * (2 * np.pi / n)
    return np.column_stack([center[0] + rx * np.sin(angle), center[1] + ry * np.cos(angle)]).astype(np.float32)
