"""The scene as polygons in world metres (x right, y up, z ahead of the camera), without regard to any image size."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from . import mesh as m
from .mesh import Mesh

SKY_KIND, GROUND_KIND, FACADE_KIND, OBJECT_KIND = range(4)
NEAR = 0.9
"""Objects that come nearer than this many metres are left out: nothing is clipped against the image plane."""


@dataclass(frozen=True)
class Light:
    """A lamp of RGB ``intensity`` (candela), all round, or about ``toward`` as ``exp(sharpness (cos - 1))``."""

    position: tuple[float, float, float]
    intensity: np.ndarray
    toward: tuple[float, float, float] | None = None
    sharpness: float = 1.0


@dataclass(frozen=True)
class Flat:
    """All polygons in painter's order.

    Attributes:
        corners: float32 ``[M, 3]``, and ``counts`` int ``[F]``: corners of each polygon.
        label, kind, material: int ``[F]``; ``kind`` is one of the ``..._KIND``.
        param: int ``[F]``: for a facade the number of its windows, or 0; for an object what varies its texture.
        two_sided, fuzzy: bool ``[F]``, see ``Mesh``.
        color, glow: float32 ``[F, 3]``, reflectance and emitted radiance.
        footprints: float32 ``[N, 4, 2]``, corners on the ground of what casts a shadow; ``tops`` ``[N]``, its height.
    """

    corners: np.ndarray
    counts: np.ndarray
    label: np.ndarray
    kind: np.ndarray
    material: np.ndarray
    param: np.ndarray
    two_sided: np.ndarray
    fuzzy: np.ndarray
    color: np.ndarray
    glow: np.ndarray
    footprints: np.ndarray
    tops: np.ndarray


@dataclass
class World:
    """Everything that stands in one scene; ``ground``, ``buildings``, ``roadside`` and ``traffic`` fill it."""

    lights: list[Light] = field(default_factory=list)
    windows: list[tuple[float, ...]] = field(default_factory=list)
    _backdrop: list[tuple] = field(default_factory=list)
    _meshes: list[Mesh] = field(default_factory=list)
    _places: list[tuple[float, ...]] = field(default_factory=list)
    _paints: list[np.ndarray] = field(default_factory=list)
    _glows: list[np.ndarray] = field(default_factory=list)

    def ground(self, polygon: Sequence | np.ndarray, label: int, color: Sequence[float], material: int) -> None:
        """Paint a polygon of (x, z) points on the ground; later ones cover earlier ones."""
        xz = np.asarray(polygon, np.float32)
        corners = np.zeros((len(xz), 3), np.float32)
        corners[:, ::2] = xz
        self._backdrop.append((corners, label, GROUND_KIND, material, 0, color))

    def pane(self, windows: tuple[float, ...]) -> int:
        """The number under which faces refer to windows, which are as ``buildings.windows`` makes them."""
        self.windows.append(windows)
        return len(self.windows)

    def distance(self, corners: Sequence, color: Sequence[float], pane: int = 0, label: int = m.BUILDING) -> None:
        """Paint an upright surface behind everything else: a part of the skyline."""
        material = m.FOLIAGE if label == m.VEGETATION else m.PLASTER
        self._backdrop.append((np.asarray(corners, np.float32), label, FACADE_KIND, material, pane, color))

    def add(
        self,
        mesh: Mesh,
        x: float,
        z: float,
        *,
        yaw: float = 0.0,
        scale: float | tuple[float, float, float] = 1.0,
        paint: Sequence[Sequence[float]] = (),
        glow: np.ndarray | None = None,
        param: int = 0,
        shadow: bool = True,
    ) -> bool:
        """Stand an object at (x, z), turned by ``yaw`` radians (0 faces away). Too near: False, and nothing is done."""
        sx, sy, sz = (scale, scale, scale) if isinstance(scale, int | float) else scale
        cos, sin = math.cos(yaw), math.sin(yaw)
        reach = (
            max(abs(mesh.low[0]), abs(mesh.high[0])) * abs(sx * sin) + max(-mesh.low[2] * cos, -mesh.high[2] * cos) * sz
        )
        if z - reach < NEAR:
            return False
        paints = np.empty((m.OWN_SLOTS + len(m.FIXED_PAINT), 3), np.float32)
        paints[m.OWN_SLOTS :] = m.FIXED_PAINT
        paints[: len(paint)] = paint if len(paint) else np.empty((0, 3))
        self._meshes.append(mesh)
        self._places.append((x, z, cos, sin, sx, sy, sz, param, shadow))
        self._paints.append(paints)
        self._glows.append(_UNLIT if glow is None else glow)
        return True

    def taken(self, x: float, z: float, margin: float) -> bool:
        """Whether a vehicle stands within ``margin`` metres of (x, z)."""
        for mesh, (px, pz, cos, sin, sx, _, sz, *_) in zip(self._meshes, self._places, strict=True):
            if mesh.label[0] not in m.VEHICLES:
                continue
            across, along = (x - px) * cos - (z - pz) * sin, (x - px) * sin + (z - pz) * cos
            beside = max(abs(mesh.low[0]), abs(mesh.high[0])) * abs(sx) + margin
            if abs(across) < beside and mesh.low[2] * sz - margin < along < mesh.high[2] * sz + margin:
                return True
        return False

    def flatten(self) -> Flat:
        """Everything in painter's order: the backdrop as it was laid, then the objects from far to near."""
        place = np.array(self._places, np.float32).reshape(-1, 9)
        boxes = _boxes(self._meshes, place)
        order = _far_to_near(boxes)
        meshes = [self._meshes[i] for i in order]
        back = self._backdrop
        counts = [np.array([len(b[0]) for b in back], np.int64)] + [x.counts for x in meshes]
        local = np.concatenate([x.corners for x in meshes])
        row = np.repeat(order, [len(x.corners) for x in meshes])
        world = np.empty_like(local)
        px, pz, cos, sin, sx, sy, sz, _, _ = place[row].T
        lx, lz = local[:, 0] * sx, local[:, 2] * sz
        world[:, 0] = lx * cos + lz * sin + px
        world[:, 1] = local[:, 1] * sy
        world[:, 2] = lz * cos - lx * sin + pz
        row = np.repeat(order, [len(x.counts) for x in meshes])
        shade = np.concatenate([x.shade for x in meshes])[:, None]
        color = np.array(self._paints)[row, np.concatenate([x.slot for x in meshes])] * shade
        glow = np.array(self._glows)[row, np.concatenate([x.glow for x in meshes])] * shade
        label = np.concatenate([x.label for x in meshes])
        facade = label == m.BUILDING

        def column(index: int, tail: list[np.ndarray]) -> np.ndarray:
            return np.concatenate([np.array([b[index] for b in back]).reshape(len(back), *tail[0].shape[1:]), *tail])

        fixed = len(back)
        return Flat(
            corners=np.concatenate([b[0] for b in back] + [world]),
            counts=np.concatenate(counts),
            label=column(1, [label]),
            kind=column(2, [np.where(facade, FACADE_KIND, OBJECT_KIND)]),
            material=column(3, [x.material for x in meshes]),
            param=column(
                4, [np.where(facade, np.concatenate([x.pane for x in meshes]), place[row, 7].astype(np.int64))]
            ),
            two_sided=np.concatenate([np.ones(fixed, bool)] + [x.two_sided for x in meshes]),
            fuzzy=np.concatenate([np.zeros(fixed, bool)] + [x.fuzzy for x in meshes]),
            color=column(5, [color]).astype(np.float32),
            glow=np.concatenate([np.zeros((fixed, 3), np.float32), glow]).astype(np.float32),
            footprints=boxes[place[:, 8] > 0],
            tops=np.array([x.high[1] for x in self._meshes], np.float32)[place[:, 8] > 0] * place[place[:, 8] > 0, 5],
        )


_UNLIT = np.zeros((m.GLOWS, 3), np.float32)


def _boxes(meshes: list[Mesh], place: np.ndarray) -> np.ndarray:
    """``[N, 4, 2]`` corners on the ground of the box around each object; flat figures get the depth of a body."""
    low = np.array([x.low for x in meshes], np.float32).reshape(-1, 3)
    high = np.array([x.high for x in meshes], np.float32).reshape(-1, 3)
    px, pz, cos, sin, sx, _, sz, _, _ = place.T[:, :, None]
    x = np.stack([low[:, 0], low[:, 0], high[:, 0], high[:, 0]], 1) * sx
    z0, z1 = np.minimum(low[:, 2], -0.2), np.maximum(high[:, 2], 0.2)
    z = np.stack([z0, z1, z1, z0], 1) * sz
    return np.stack([x * cos + z * sin + px, z * cos - x * sin + pz], -1)


def _far_to_near(boxes: np.ndarray) -> np.ndarray:
    """Painter's order of objects with ground corners ``[N, 4, 2]``.

    Where two overlap in depth, as a pedestrian beside a bus does, the one nearer to the line of sight stands in front:
    sorting by one depth per object would get long vehicles wrong.
    """
    (x0, z0), (x1, z1) = boxes.min(1).T, boxes.max(1).T
    aside = np.where((x0 <= 0) & (x1 >= 0), 0.0, np.minimum(abs(x0), abs(x1)))
    apart = z1[:, None] <= z0[None, :]
    inner = aside[:, None] < aside[None, :]
    in_front = apart | (~apart & ~apart.T & inner)
    return np.lexsort((-0.5 * (z0 + z1), in_front.sum(1)))
