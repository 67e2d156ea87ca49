"""Patterns too fine for polygons (windows, fence bars, spokes), and the records shared with ``surface``.

Colours of pixels are planar here, ``[3, h, w]``, because numpy is several times faster that way.
"""

from dataclasses import dataclass

import numpy as np

from . import mesh as m
from .noise import chance
from .raster import Buffers, Camera


@dataclass(frozen=True)
class FaceTable:
    """Per-face look-ups for shading, entry 0 for the sky: each ``[F + 1]``, colours and the like planar ``[3, F + 1]``.

    Attributes:
        across: ``[2, F + 1]``, x and z of the horizontal direction along the face.
        glows: which faces emit at all.
        upright: 1 for walls and figures, 0 for what lies flat.
        noise: ``[4, F + 1]``, see ``_NOISE``.
        offset: shift of the texture in metres.
        pane: number of the facade's windows, 0 for none.
        windows: ``[8, n + 1]``, columns as ``buildings.windows`` makes them.
    """

    kind: np.ndarray
    material: np.ndarray
    color: np.ndarray
    glow: np.ndarray
    glows: np.ndarray
    across: np.ndarray
    upright: np.ndarray
    noise: np.ndarray
    offset: np.ndarray
    pane: np.ndarray
    windows: np.ndarray


@dataclass(frozen=True)
class Surface:
    """A band of image rows: ``ids``, ``inverse`` (1/Z) ``[h, w]``; ``albedo``, ``glow`` (radiance) ``[3, h, w]``."""

    ids: np.ndarray
    inverse: np.ndarray
    albedo: np.ndarray
    glow: np.ndarray


def _inside(x: np.ndarray, low: np.ndarray | float, high: np.ndarray | float, blur: np.ndarray) -> np.ndarray:
    """How much of a pixel ``blur`` wide at ``x`` lies between two edges."""
    return np.clip(np.minimum(x - low, high - x) / blur + 0.5, 0, 1)


def cut_windows(
    table: FaceTable, pane: np.ndarray, s: np.ndarray, t: np.ndarray, span: np.ndarray,
    albedo: np.ndarray, glow: np.ndarray, at: np.ndarray, night: bool,
) -> None:  # fmt: skip
    """Cut windows and shop fronts into the facades at pixels ``at``: dark glass by day, some lit by night."""
    pitch, floor, wide, tall, lit, warm, has_shop, height = (column.take(pane) for column in table.windows)
    has_shop = has_shop > 0
    base = floor * np.where(has_shop, np.float32(1.25), np.float32(0.35))
    shop = has_shop & (t < base)
    pitch = np.where(shop, np.float32(4.2), pitch)
    column, story = s / pitch, np.where(shop, t / base - 1, (t - base) / floor)
    column_index, story_index = np.floor(column), np.floor(story)
    x, y = column - column_index, story - story_index
    dice, tone = chance(column_index, story_index, pane)
    half = np.where(shop, np.float32(0.42), 0.5 * wide)
    low, high = np.where(shop, np.float32(0.14), np.float32(0.22)), np.where(shop, np.float32(0.84), 0.22 + tall)
    blur = span / pitch + np.float32(0.01)
    glass = _inside(x, 0.5 - half, 0.5 + half, blur) * _inside(y, low, high, span / floor + np.float32(0.01))
    glass *= (t > base * ~has_shop) & (t < np.where(shop, base, height - 0.6))
    glass *= 1 - np.float32(0.7) * _inside(x, 0.485, 0.515, blur) * ~shop
    keep = 1 - np.float32(0.93) * glass
    reflection = (0.05 + 0.12 * tone) * glass * np.float32(0.12 if night else 1.0)
    for channel, tint in enumerate((0.8, 1.0, 1.25)):
        albedo[channel, at] = albedo[channel].take(at) * keep + reflection * np.float32(tint)
    if night:
        power = glass * np.where(shop, 3.4 * (dice < 0.7), 2.2 * (dice < lit)).astype(np.float32)
        power *= 0.25 + 0.75 * tone * tone * (0.7 + 0.3 * y)
        warm_light = tone < warm
        for channel, (hot, cold) in enumerate(((1.0, 0.82), (0.62, 0.92), (0.27, 1.0))):
            glow[channel, at] += power * np.where(warm_light, np.float32(hot), np.float32(cold))


def lay_veils(
    table: FaceTable, buffers: Buffers, camera: Camera, rows: slice, size: tuple[int, int], s: Surface
) -> None:
    """Lay the bars of fences and the spokes of wheels over what is seen through them; ``s`` is changed in place."""
    veil = buffers.veil[rows]
    at = np.flatnonzero(veil > s.ids)
    if not len(at):
        return
    rx, ry = camera.rays(size)
    faces = veil.ravel()[at].astype(np.intp)
    x, y = rx[at % size[1]], ry[rows][at // size[1]]
    a, b, c = buffers.plane[:, faces]
    z = 1 / np.maximum(a * x + b * y + c, 1e-4)
    along = z * (x * table.across[0, faces] + table.across[1, faces])
    span = z * np.float32(1 / (camera.focal * size[0]))
    material = table.material[faces]
    period = np.where(material == m.BARS, np.float32(0.14), np.float32(0.09))
    share = np.where(material == m.BARS, np.float32(0.24), np.float32(0.13))
    cover = _bars(along, period, share, span)
    cover = np.where(material == m.MESH, np.maximum(cover, _bars(z * y + camera.height, period, share, span)), cover)
    cover = np.where(material == m.SPOKES, np.float32(0.22), cover).astype(np.float32)
    albedo, glow = s.albedo.reshape(3, -1), s.glow.reshape(3, -1)
    albedo[:, at] = albedo[:, at] * (1 - cover) + table.color[:, faces] * cover
    glow[:, at] *= 1 - cover
    solid = cover > 0.5
    s.ids.ravel()[at[solid]] = faces[solid]
    s.inverse.ravel()[at[solid]] = 1 / z[solid]


def _bars(x: np.ndarray, period: np.ndarray, share: np.ndarray, span: np.ndarray) -> np.ndarray:
    """Coverage of bars; where a pixel spans several of them, their average."""
    phase = x / period
    edge = np.abs(phase - np.floor(phase) - 0.5)
    sharp = np.clip((0.5 * share - edge) / (span / period + 1e-3) + 0.5, 0, 1)
    return np.where(span > 0.5 * period, share, sharp)
