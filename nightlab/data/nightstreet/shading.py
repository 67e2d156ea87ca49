"""Adds up the light on every pixel: lamps, headlights and sky glow by night; sun and sky by day."""

import cv2
import numpy as np

from . import light, sky
from . import mesh as m
from .plan import Plan
from .raster import Buffers
from .surface import FaceTable, face_table, surface
from .weather import Weather
from .world import FACADE_KIND, GROUND_KIND, Flat, World

_BAND_PIXELS = 1 << 15
"""Pixels shaded at a time, so that their buffers stay in the cache."""


def _bands(size: tuple[int, int]) -> list[slice]:
    rows = max(1, _BAND_PIXELS // size[1])
    return [slice(i, min(i + rows, size[0])) for i in range(0, size[0], rows)]


def _special(table: FaceTable, material: int, strength: float) -> np.ndarray:
    """``strength`` for the faces of one material, 0 for the others."""
    return np.where(table.material == material, np.float32(strength), np.float32(0))


def _through_haze(
    out: np.ndarray, total: np.ndarray, clear: np.ndarray, haze: np.floating, heaven: np.ndarray, is_sky: np.ndarray
) -> None:
    """Into ``out`` (one channel): surfaces that fade into ``haze`` as ``clear`` falls, and the sky behind them."""
    total -= haze
    total *= clear
    total += haze
    out[...] = total
    np.copyto(out, heaven, where=is_sky)


def light_night(
    world: World, flat: Flat, buffers: Buffers, plan: Plan, size: tuple[int, int], weather: Weather
) -> np.ndarray:
    """Radiance ``[H, W, 3]`` by night."""
    camera, table = plan.camera, face_table(world, flat, buffers)
    faces, *grids = light.lamp_light(flat, buffers, camera, size, world.lights, weather.wetness)
    ground, mirror, facade = (light.enlarge_colors(grid, size, buffers.step) for grid in grids)
    dry = weather.wetness == 0
    open_ground = 1 - np.float32(0.85) * light.ground_shadow(flat, camera, size, None)
    faces += weather.ambient * (0.65 + 0.35 * buffers.normal[:, 1:2])
    faces = np.ascontiguousarray(faces.T)
    retro, gloss = _special(table, m.RETRO, 4.5), _special(table, m.GLOSS, 0.035)
    distance = light.plane_distance(buffers)
    heaven = cv2.split(sky.night_sky(camera, size, weather))
    rx, ry = camera.rays(size)
    radiance = np.empty((3, *size), np.float32)
    for rows in _bands(size):
        s = surface(table, buffers, camera, size, rows, night=True)
        kind = table.kind.take(s.ids)
        on_ground, on_facade = (kind == GROUND_KIND).astype(np.float32), (kind == FACADE_KIND).astype(np.float32)
        lit_ground = on_ground * open_ground[rows]
        own = light.headlights(distance.take(s.ids), s.inverse, rx, ry[rows], camera.height)
        own *= 1 + retro.take(s.ids)
        shine, clear = gloss.take(s.ids), np.exp(np.float32(-weather.haze) / s.inverse)
        is_sky = s.ids == 0
        for c in range(3):
            total = faces[c].take(s.ids)
            total += ground[c][rows] * lit_ground
            total += facade[c][rows] * on_facade
            total += own * weather.headlight[c]
            total *= s.albedo[c]
            total *= np.float32(1 / np.pi)
            total += s.glow[c]
            total += shine * weather.sky_low[c]
            if not dry:
                total += mirror[c][rows] * on_ground
            _through_haze(radiance[c, rows], total, clear, weather.haze_light[c], heaven[c][rows], is_sky)
    return cv2.merge(list(radiance))


def light_day(
    world: World, flat: Flat, buffers: Buffers, plan: Plan, size: tuple[int, int], weather: Weather
) -> np.ndarray:
    """Radiance ``[H, W, 3]`` by day."""
    camera, table = plan.camera, face_table(world, flat, buffers)
    sun, normal = weather.sun, buffers.normal
    shade = light.ground_shadow(
        flat, camera, size, (-sun[0] / sun[1], -sun[2] / sun[1]) if weather.sunlight.any() else None
    )
    cosine = normal @ sun
    cosine = np.where(np.concatenate([[False], flat.fuzzy]), 0.45 + 0.3 * cosine, np.maximum(cosine, 0)).astype(
        np.float32
    )
    around = (0.72 + 0.28 * normal[:, 1]).astype(np.float32)
    heaven = cv2.split(sky.day_sky(camera, size, weather))
    gloss = _special(table, m.GLOSS, 0.08)
    radiance = np.empty((3, *size), np.float32)
    for rows in _bands(size):
        s = surface(table, buffers, camera, size, rows, night=False)
        dark = shade[rows] * (table.kind.take(s.ids) == GROUND_KIND)
        ambient = around.take(s.ids) * (1 - np.float32(0.45) * dark)
        direct = cosine.take(s.ids) * (1 - dark)
        shine, clear = gloss.take(s.ids), np.exp(np.float32(-weather.haze) / s.inverse)
        is_sky = s.ids == 0
        for c in range(3):
            total = ambient * weather.ambient[c]
            total += direct * weather.sunlight[c]
            total *= s.albedo[c]
            total += s.glow[c] * np.float32(0.02) + shine * weather.sky_low[c]
            _through_haze(radiance[c, rows], total, clear, weather.haze_light[c], heaven[c][rows], is_sky)
    return cv2.merge(list(radiance))
