"""Light that falls on the scene: lamps by distance and angle, our own headlights, and the soft shadows on the ground.

Symbols: E irradiance (lux-like), L radiance, d distance in metres. A lamp of intensity I gives E = I cos / d^2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .raster import Buffers, Camera
from .world import FACADE_KIND, OBJECT_KIND, Flat, Light

_MAX_LIGHTS = 40


@dataclass(frozen=True)
class Lamps:
    """Lights as arrays: ``position``, ``toward`` (0: all round), ``intensity`` ``[L, 3]``; ``sharpness`` ``[L]``."""

    position: np.ndarray
    toward: np.ndarray
    intensity: np.ndarray
    sharpness: np.ndarray


def gather(lights: Sequence[Light]) -> Lamps:
    """The lights that matter most from where we stand."""

    def weight(light: Light) -> float:
        return float(light.intensity.max()) / (25.0 + light.position[0] ** 2 + light.position[2] ** 2)

    near = sorted(lights, key=weight, reverse=True)[:_MAX_LIGHTS]
    position = np.array([light.position for light in near], np.float32).reshape(-1, 3)
    toward = np.array([light.toward or (0, 0, 0) for light in near], np.float32).reshape(-1, 3)
    sharpness = np.array([light.sharpness * (light.toward is not None) for light in near], np.float32)
    return Lamps(position, toward, np.array([light.intensity for light in near], np.float32).reshape(-1, 3), sharpness)


def irradiance(points: np.ndarray, normals: np.ndarray, wrap: float, lamps: Lamps) -> np.ndarray:
    """E ``[N, 3]`` at ``points`` with ``normals``, both float32 ``[N, 3]``.

    ``wrap`` (0 to 1) is the share that reaches surfaces turned away: matt bodies and leaves are not planes.
    """
    if not len(lamps.position) or not len(points):
        return np.zeros((len(points), 3), np.float32)
    # With v = lamp - point, the products n.v, t.v and v.v are matrix products over all pairs [N, L].
    square = points @ (-2 * lamps.position.T)
    square += (points * points).sum(1)[:, None] + (lamps.position * lamps.position).sum(1)
    np.maximum(square, 0.25, out=square)
    inverse = 1 / np.sqrt(square)
    amount = normals @ lamps.position.T
    amount -= (normals * points).sum(1)[:, None]
    amount *= inverse
    amount *= np.float32(1 - wrap)
    amount += np.float32(wrap)
    np.maximum(amount, 0, out=amount)
    amount *= inverse
    amount *= inverse
    behind = (lamps.toward * lamps.position).sum(1) - points @ lamps.toward.T
    behind *= inverse
    amount *= behind <= 0
    behind += 1
    behind *= -lamps.sharpness
    amount *= np.exp(behind, out=behind)
    return amount @ lamps.intensity


def gleam(rx: np.ndarray, ry: np.ndarray, eye: float, lamps: Lamps, depth: np.ndarray) -> np.ndarray:
    """L ``[h, w, 3]`` mirrored by a wet road: each light's mirror image, drawn out towards the viewer.

    ``depth`` ``[h, w]`` is the scene's own: lights behind something have no mirror image.
    """
    px, py, pz = lamps.position.T
    pz = np.maximum(pz, 2)
    row = np.exp(-np.square((ry[:, None] + (py + eye) / pz) / (0.05 + 1.2 / pz)))
    column = np.exp(-np.square((rx[:, None] - px / pz) / (0.012 + 0.25 / pz)))
    u = np.rint((px / pz - rx[0]) / (rx[1] - rx[0])).astype(np.intp)
    v = np.rint(((py - eye) / pz - ry[0]) / (ry[1] - ry[0])).astype(np.intp)
    hidden = depth[np.clip(v, 0, len(ry) - 1), np.clip(u, 0, len(rx) - 1)] < 0.85 * pz - 0.5
    shows = (u >= 0) & (u < len(rx)) & ~hidden
    towards_us = -(lamps.toward * lamps.position).sum(1) / np.maximum(np.linalg.norm(lamps.position, axis=1), 1)
    beam = np.exp(lamps.sharpness * (towards_us - 1))
    strength = lamps.intensity * (shows * beam / (pz * pz + 200))[:, None]
    return np.stack([(row * strength[:, c]) @ column.T for c in range(3)], -1).astype(np.float32)


def lamp_light(
    flat: Flat, buffers: Buffers, camera: Camera, size: tuple[int, int], lights: Sequence[Light], wetness: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The light of all lamps, by face for objects and smooth over a coarse grid for ground and facades.

    Returns the E of each face ``[F + 1, 3]`` (zero but for objects), and, each ``[h, w, 3]``, the ground's E, the L
    that the ground mirrors, and the facades' E.
    """
    lamps = gather(lights)
    faces = np.zeros((len(flat.counts) + 1, 3), np.float32)
    objects = buffers.seen & np.concatenate([[False], flat.kind == OBJECT_KIND])
    fuzzy = np.concatenate([[False], flat.fuzzy])
    for part, wrap in ((objects & ~fuzzy, 0.12), (objects & fuzzy, 0.5)):
        faces[part] = irradiance(buffers.center[part], buffers.normal[part], wrap, lamps)

    rx, ry = camera.rays(size, buffers.step)
    h, w = len(ry), len(rx)
    ground, mirror = np.zeros((h, w, 3), np.float32), np.zeros((h, w, 3), np.float32)
    below = np.flatnonzero(ry < -0.004)
    depth = (camera.height / -ry[below])[:, None]
    points = np.stack(np.broadcast_arrays(depth * rx, np.float32(0), depth), -1).reshape(-1, 3).astype(np.float32)
    up = np.broadcast_to(np.array([0, 1, 0], np.float32), points.shape)
    ground[below] = irradiance(points, up, 0.0, lamps).reshape(len(below), w, 3)
    if wetness > 0:
        a, b, c = buffers.plane[:, buffers.coarse]
        far = 1 / np.maximum(a * rx + b * ry[:, None] + c, 1e-4)
        mirror[below] = gleam(rx, ry, camera.height, lamps, far)[below] * wetness
    return faces, ground, mirror, _facade_light(flat, buffers, rx, ry, camera.height, lamps)


def _facade_light(flat: Flat, buffers: Buffers, rx: np.ndarray, ry: np.ndarray, eye: float, lamps: Lamps) -> np.ndarray:
    ids = buffers.coarse
    mask = np.concatenate([[0], flat.kind])[ids] == FACADE_KIND
    result = np.zeros((*ids.shape, 3), np.float32)
    rows, columns = np.nonzero(mask)
    faces = ids[rows, columns]
    x, y = rx[columns], ry[rows]
    a, b, c = buffers.plane[:, faces]
    z = 1 / np.maximum(a * x + b * y + c, 1e-4)
    points = np.column_stack([x * z, y * z + eye, z]).astype(np.float32)
    result[rows, columns] = irradiance(points, buffers.normal[faces], 0.08, lamps)
    # Spread beyond the facades' own cells: interpolation must not darken edges, nor what shows between two objects.
    weight = cv2.blur(mask.astype(np.float32), (7, 7))
    spread = cv2.blur(result, (7, 7)) / np.maximum(weight, 1e-3)[..., None]
    result[~mask] = spread[~mask]
    return result


_BEAM_STEP = 1 / 2048
_rise = np.arange(-1024, 1024, dtype=np.float32) * _BEAM_STEP
_BEAM = (1 / (1 + np.exp(np.clip((_rise + 0.012) * 160, -30, 30))) * np.exp(np.minimum(_rise, 0) * 7) + 0.012).astype(
    np.float32
)
"""The low beam by elevation: brightest just below the cut-off, fading towards the bonnet, some stray light above."""


def plane_distance(buffers: Buffers) -> np.ndarray:
    """Distance ``[F + 1]`` of each face's plane from the camera."""
    return (1 / np.maximum(np.linalg.norm(buffers.plane, axis=0), 1e-4)).astype(np.float32)


def headlights(distance: np.ndarray, inverse: np.ndarray, rx: np.ndarray, ry: np.ndarray, eye: float) -> np.ndarray:
    """E of our own low beam on each pixel ``[h, w]``, for 1 candela on its axis.

    ``distance`` is that of the pixel's plane: the cosine is distance / Z, so that I cos / d^2 = I distance / Z^3.
    """
    spread = (np.exp(-np.square((rx - 0.03) / 0.34)) + 0.25 * np.exp(-np.square(rx / 0.7))).astype(np.float32)
    # The cut-off rises to the right, so that it lights the kerb and not those who come towards us.
    cut = np.float32(0.008) + np.float32(0.02) * np.clip(rx / np.float32(0.2), 0, 1)
    rise = inverse * np.float32((eye - 0.65) / _BEAM_STEP)
    rise += (ry[:, None] - cut) * np.float32(1 / _BEAM_STEP) + 1024
    amount = _BEAM.take(rise.astype(np.int32), mode="clip")
    amount *= spread
    amount *= np.minimum(distance * inverse, 1)
    falloff = np.minimum(inverse, np.float32(0.3))
    amount *= falloff
    amount *= falloff
    return amount


def ground_shadow(flat: Flat, camera: Camera, size: tuple[int, int], sun: tuple[float, float] | None) -> np.ndarray:
    """Shadow float32 ``[H, W]``, 0 to 1, on the ground: under every object, and away from the ``sun``.

    ``sun`` is how far a shadow falls along x and z per metre of height; None without sunlight.
    """
    scale = max(1, round(size[0] / 160))
    h, w = -(-size[0] // scale), -(-size[1] // scale)
    contact, cast = np.zeros((h, w), np.uint8), np.zeros((h, w), np.uint8)
    depth = flat.footprints[:, :, 1].min(1)
    near = (depth > 0.8) & (depth < 90)
    _fill(contact, list(flat.footprints[near]), camera)
    if sun is not None:
        away = flat.footprints + np.array(sun) * np.minimum(flat.tops, 12.0)[:, None, None]
        near &= away[:, :, 1].min(1) > 0.8
        both = np.concatenate([flat.footprints[near], away[near]], axis=1).astype(np.float32)
        _fill(cast, [cv2.convexHull(corners)[:, 0] for corners in both], camera)
    blur = max(3, int(h * 0.02) | 1)
    soft = cv2.blur(contact, (blur + 2, blur)).astype(np.float32) * np.float32(0.75 / 255)
    if sun is not None:
        soft = np.maximum(soft, cv2.blur(cast, (3, 3)).astype(np.float32) / 255)
    return enlarge(soft, size, scale)


def _fill(mask: np.ndarray, polygons: list[np.ndarray], camera: Camera) -> None:
    """Fill ground polygons, each of (x, z) corners."""
    if not polygons:
        return
    xz = np.concatenate(polygons)
    corners = np.column_stack([xz[:, 0], np.zeros(len(xz)), xz[:, 1]])
    pixels = np.round(np.clip(camera.project(corners, mask.shape), -4000, 4000) * 16).astype(np.int32)
    ends = np.cumsum([len(polygon) for polygon in polygons])
    for outline in np.split(pixels, ends[:-1]):
        cv2.fillConvexPoly(mask, outline, 255, cv2.LINE_8, 4)


def enlarge(grid: np.ndarray, size: tuple[int, int], step: int) -> np.ndarray:
    """A coarse grid ``[h, w]`` of blocks of ``step`` pixels, interpolated to the image ``[H, W]``."""
    if step == 1:
        return grid
    h, w = grid.shape
    return cv2.resize(grid, (w * step, h * step), interpolation=cv2.INTER_LINEAR)[: size[0], : size[1]]


def enlarge_colors(grid: np.ndarray, size: tuple[int, int], step: int) -> list[np.ndarray]:
    """The same for ``[h, w, 3]``, as three planes."""
    return [enlarge(np.ascontiguousarray(grid[..., c]), size, step) for c in range(3)]
