"""From polygons to buffers: which polygon each pixel shows, and how far away it is.

Nothing but the polygon's number is drawn. Depth, position and colour follow from it by look-up, because 1/Z of a plane
is linear over the image.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from .mesh import SEE_THROUGH
from .world import GROUND_KIND, Flat

_SUBPIXEL = 4
GRID = 64
"""Rows of the coarse grid on which smooth light is computed, about."""


@dataclass(frozen=True)
class Camera:
    """A pinhole camera ``height`` metres up, looking along the road; ``focal`` and ``horizon`` in image heights."""

    height: float
    focal: float
    horizon: float

    def rays(self, size: tuple[int, int], step: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Slopes x/z ``[w]`` and y/z ``[h]`` of the pixel centres, or of the centres of blocks of ``step`` pixels."""
        h, w = size
        x = (np.arange(-(-w // step), dtype=np.float32) + 0.5) * step
        y = (np.arange(-(-h // step), dtype=np.float32) + 0.5) * step
        scale = np.float32(1 / (self.focal * h))
        return (x - np.float32(0.5 * w)) * scale, (np.float32(self.horizon * h) - y) * scale

    def project(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Pixel coordinates ``[M, 2]`` (a pixel's centre is an integer) of world points ``[M, 3]`` with z > 0."""
        h, w = size
        scale = self.focal * h / points[:, 2]
        u = points[:, 0] * scale + (0.5 * w - 0.5)
        v = (self.height - points[:, 1]) * scale + (self.horizon * h - 0.5)
        return np.column_stack([u, v])


@dataclass(frozen=True)
class Buffers:
    """What the camera sees. Face 0 is the sky, face k the k-th of ``Flat``.

    Attributes:
        ids: int32 ``[H, W]``, the solid face of each pixel.
        veil: int32 ``[H, W]``, the see-through face drawn last; it counts where ``veil > ids``.
        coarse: int32 ``[h, w]``, ``ids`` at the centres of blocks of ``step`` pixels.
        plane: float32 ``[3, F + 1]``; 1/Z = plane . (rx, ry, 1).
        normal: float32 ``[F + 1, 3]``, turned towards the camera.
        center: float32 ``[F + 1, 3]``, mean of the corners in world metres.
        seen: bool ``[F + 1]``, which faces were drawn.
    """

    ids: np.ndarray
    veil: np.ndarray
    coarse: np.ndarray
    step: int
    plane: np.ndarray
    normal: np.ndarray
    center: np.ndarray
    seen: np.ndarray


def rasterize(flat: Flat, camera: Camera, size: tuple[int, int]) -> Buffers:
    """Draw every polygon that faces the camera and touches the image, from far to near."""
    starts = np.concatenate([[0], np.cumsum(flat.counts)[:-1]])
    eye = np.array([0, camera.height, 0], np.float32)
    a, b, c = flat.corners[starts] - eye, flat.corners[starts + 1] - eye, flat.corners[starts + 2] - eye
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    # A band of ground may begin with three corners in a line.
    normal[flat.kind == GROUND_KIND] = (0, 1, 0)
    facing = -(normal * a).sum(1)
    seen = (facing > 0) | flat.two_sided
    normal[facing < 0] *= -1
    distance = np.maximum(abs(facing), 1e-4)
    center = np.add.reduceat(flat.corners, starts, axis=0) / flat.counts[:, None]

    h, w = size
    pixels = np.clip(camera.project(flat.corners, size), -30 * w, 31 * w)
    low, high = np.minimum.reduceat(pixels, starts, axis=0), np.maximum.reduceat(pixels, starts, axis=0)
    seen &= (high[:, 0] > -1) & (low[:, 0] < w) & (high[:, 1] > -1) & (low[:, 1] < h)
    fixed = np.round(pixels * (1 << _SUBPIXEL)).astype(np.int32)
    ids, veil = np.zeros(size, np.int32), np.zeros(size, np.int32)
    step = max(1, round(h / GRID))
    _draw(ids, veil, flat, fixed, starts, np.flatnonzero(seen))
    plane = np.vstack([[[0, 0, 1e-4]], -normal / distance[:, None]])
    normal, center = np.vstack([[[0, 0, -1]], normal]), np.vstack([[[0, 0, 1e4]], center])
    seen = np.concatenate([[True], seen])
    coarse = ids[np.ix_(_centers(h, step), _centers(w, step))]
    return Buffers(ids, veil, coarse, step, _f32(plane.T), _f32(normal), _f32(center), seen)


def _draw(
    ids: np.ndarray, veil: np.ndarray, flat: Flat, points: np.ndarray, starts: np.ndarray, faces: np.ndarray
) -> None:
    see_through = np.isin(flat.material[faces], SEE_THROUGH)
    ends = starts[faces] + flat.counts[faces]
    for k, start, end, veiled in zip(
        faces.tolist(), starts[faces].tolist(), ends.tolist(), see_through.tolist(), strict=True
    ):
        cv2.fillPoly(veil if veiled else ids, [points[start:end]], k + 1, cv2.LINE_8, _SUBPIXEL)


def _centers(length: int, step: int) -> np.ndarray:
    return np.minimum(np.arange(-(-length // step)) * step + step // 2, length - 1)


def _f32(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
