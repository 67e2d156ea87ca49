"""The sky: glow over the city, clouds, stars and moon by night; blue or overcast by day."""

import cv2
import numpy as np

from .noise import CLOUDS
from .raster import Camera
from .weather import Weather


def _gradient(
    camera: Camera, size: tuple[int, int], weather: Weather, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Radiance ``[h, w, 3]`` on a coarse grid, with the slopes of its points."""
    step = max(1, size[0] // 64)
    rx, ry = camera.rays(size, step)
    rise = np.maximum(ry, 0)[:, None]
    share = np.exp(-rise / reach) * (1 - 0.25 * np.square(np.clip(rx, -1, 1)))
    return weather.sky_high + (weather.sky_low - weather.sky_high) * share[..., None], rx, ry


def _clouds(rx: np.ndarray, ry: np.ndarray, weather: Weather) -> np.ndarray:
    """Cover ``[h, w]``, 0 to 1: a flat layer of cloud seen in perspective."""
    far = 1 / np.maximum(ry, 0.03)[:, None]
    u = (rx * far * 9 + weather.drift).astype(np.float32)
    v = np.broadcast_to(far * 9, u.shape).astype(np.float32)
    cover = cv2.remap(CLOUDS, u % CLOUDS.shape[1], v % CLOUDS.shape[0], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return np.clip((cover * 0.6 + weather.clouds - 0.45) * 1.4, 0, 1) * np.clip(ry / 0.06, 0, 1)[:, None]


def night_sky(camera: Camera, size: tuple[int, int], weather: Weather) -> np.ndarray:
    """Radiance ``[H, W, 3]``."""
    grid, rx, ry = _gradient(camera, size, weather, 0.16)
    cover = _clouds(rx, ry, weather)[..., None]
    # Clouds throw the city's light back and hide the stars.
    grid = grid * (1 + 0.7 * cover) + weather.sky_low * 0.12 * cover
    heaven = cv2.resize(grid.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    h, w = size
    rng = np.random.default_rng(weather.drift)
    at = rng.random((weather.stars, 2))
    flux = rng.pareto(2.5, weather.stars) * 0.012
    rows, columns = (at[:, 0] * camera.horizon * h * 0.95).astype(int), (at[:, 1] * w).astype(int)
    clear = 1 - weather.clouds
    heaven[rows, columns] += (np.minimum(flux, 0.4) * clear)[:, None].astype(np.float32)
    if weather.moon is not None:
        _moon(heaven, camera, size, weather)
    return heaven


def _moon(heaven: np.ndarray, camera: Camera, size: tuple[int, int], weather: Weather) -> None:
    assert weather.moon is not None
    rx, ry = camera.rays(size)
    x, y = weather.moon
    rows, columns = np.flatnonzero(abs(ry - y) < 0.25), np.flatnonzero(abs(rx - x) < 0.25)
    if not len(rows) or not len(columns):
        return
    far = np.sqrt(np.square(rx[columns] - x) + np.square(ry[rows] - y)[:, None])
    pixel = 1 / (camera.focal * size[0])
    disc = np.clip((0.011 - far) / pixel + 0.5, 0, 1) * 2.2 * (1 - 0.6 * weather.clouds)
    corona = 0.03 * np.exp(-far / 0.05) * (0.4 + weather.clouds) * np.clip((0.25 - far) / 0.1, 0, 1)
    light = (disc + corona)[..., None] * np.array([1.0, 0.97, 0.9])
    heaven[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += light.astype(np.float32)


def day_sky(camera: Camera, size: tuple[int, int], weather: Weather) -> np.ndarray:
    """Radiance ``[H, W, 3]``."""
    grid, rx, ry = _gradient(camera, size, weather, 0.22)
    cover = _clouds(rx, ry, weather)[..., None]
    white = np.array([0.95, 0.95, 0.96], np.float32)
    grid = grid * (1 - 0.75 * cover) + white * (0.75 * cover)
    return cv2.resize(grid.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
