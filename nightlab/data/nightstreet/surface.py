"""What surfaces look like before light falls on them: depth, textured reflectance, and what glows by itself.

Colours of pixels are planar here, ``[3, h, w]``, because numpy is several times faster that way.
"""

from typing import Any

import numpy as np

from . import mesh as m
from .noise import MASK, TILE_BITS, TILES
from .pattern import FaceTable, Surface, cut_windows, lay_veils
from .raster import Buffers, Camera
from .world import FACADE_KIND, OBJECT_KIND, Flat, World

# Spots per metre and strength of broad patches and of grain, by material.
_NOISE = np.zeros((12, 4), np.float32)
_NOISE[:] = (2, 0.06, 20, 0.05)
_NOISE[m.ASPHALT] = (0.6, 0.25, 26, 0.18)
_NOISE[m.PAVING] = (0.9, 0.2, 14, 0.2)
_NOISE[m.GRASS] = (1.5, 0.4, 20, 0.6)
_NOISE[m.PLASTER] = (0.5, 0.2, 7, 0.13)
_NOISE[m.BRICK] = (1.5, 0.2, 12, 0.4)
_NOISE[m.FOLIAGE] = (2.2, 0.5, 12, 0.95)
_NOISE[m.GLOSS] = (1, 0.1, 4, 0.0)
_SPOT = (8, 2)


def face_table(world: World, flat: Flat, buffers: Buffers) -> FaceTable:
    """The look-ups of a rasterised scene."""

    def rows(values: Any, dtype: type = np.float32) -> np.ndarray:
        return np.concatenate([np.zeros((1, *values.shape[1:])), values]).astype(dtype)

    def planar(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows(values).T)

    kind, material = rows(flat.kind, np.uint8), rows(flat.material, np.uint8)
    normal = buffers.normal
    lying = abs(normal[:, 1]) > 0.8
    length = np.maximum(np.hypot(normal[:, 0], normal[:, 2]), 1e-6)
    across = np.where(lying, np.array([[1], [0]]), np.stack([-normal[:, 2], normal[:, 0]]) / length).astype(np.float32)
    return FaceTable(
        kind=kind,
        material=material,
        color=planar(flat.color),
        glow=planar(flat.glow),
        glows=rows(flat.glow.any(1), bool),
        across=across,
        upright=(~lying).astype(np.float32),
        noise=np.ascontiguousarray(_NOISE[material].T),
        offset=rows(np.where(flat.kind == OBJECT_KIND, flat.param * 1.7, 0)),
        pane=rows(np.where(flat.kind == FACADE_KIND, flat.param, 0), np.intp),
        windows=np.array([(1.0,) * 8, *world.windows], np.float32).T.copy(),
    )


def surface(
    table: FaceTable, buffers: Buffers, camera: Camera, size: tuple[int, int], rows: slice, night: bool
) -> Surface:
    """The surfaces that image rows ``rows`` show."""
    rx, ry = camera.rays(size)
    ry = ry[rows, None]
    ids = buffers.ids[rows].astype(np.intp)
    inverse = buffers.plane[0].take(ids) * rx
    inverse += buffers.plane[1].take(ids) * ry
    inverse += buffers.plane[2].take(ids)
    np.maximum(inverse, 1e-4, out=inverse)
    z = 1 / inverse
    upright = table.upright.take(ids)
    s = z * (rx * table.across[0].take(ids) + table.across[1].take(ids))
    height = z * ry + np.float32(camera.height)
    t = np.where(upright > 0, height, z)
    # Metres that a pixel spans: textures finer than that fade out. On the ground it grows with the square of the depth.
    pixel = np.float32(1 / (camera.focal * size[0]))
    span = z * pixel
    albedo = table.color.take(ids, axis=1)
    glow = _glow(table, ids)
    albedo *= _texture(table, ids, s, t, span * (1 + (1 - upright) * z * np.float32(0.25)))
    pane = table.pane.take(ids)
    at = np.flatnonzero(pane)
    if len(at):
        cut_windows(
            table,
            pane.take(at),
            s.take(at),
            height.take(at),
            span.take(at),
            albedo.reshape(3, -1),
            glow.reshape(3, -1),
            at,
            night,
        )
    lay_veils(table, buffers, camera, rows, size, Surface(ids, inverse, albedo, glow))
    return Surface(ids, inverse, albedo, glow)


def _glow(table: FaceTable, ids: np.ndarray) -> np.ndarray:
    """Emitted radiance ``[3, h, w]``; few faces emit any."""
    glow = np.zeros((3, *ids.shape), np.float32)
    at = np.flatnonzero(table.glows.take(ids))
    if len(at):
        glow.reshape(3, -1)[:, at] = table.glow.take(ids.ravel().take(at), axis=1)
    return glow


def _texture(table: FaceTable, ids: np.ndarray, s: np.ndarray, t: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Brightness factors around 1: two layers of noise fixed to the world, fading where a pixel spans several spots."""
    along = s + table.offset.take(ids)
    result = np.ones_like(s)
    for tile, texels, layer in zip(TILES, _SPOT, (0, 2), strict=True):
        rate = table.noise[layer].take(ids)
        fade = span * rate
        fade *= fade
        fade += 1
        rate *= texels
        u, v = _texel(along, rate), _texel(t, rate)
        v <<= TILE_BITS
        v |= u
        grain = tile.take(v)
        grain *= table.noise[layer + 1].take(ids)
        grain /= fade
        result += grain
    return np.maximum(result, 0.1, out=result)


def _texel(position: np.ndarray, rate: np.ndarray) -> np.ndarray:
    scaled = position * rate
    scaled += 65536  # keeps it positive, where truncation rounds down
    index = scaled.astype(np.int32)
    index &= MASK
    return index
