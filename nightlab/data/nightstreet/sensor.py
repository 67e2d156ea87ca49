"""The camera: glare, exposure, noise, clipping and the tone curve, from radiance to 8 bits."""

from dataclasses import dataclass

import cv2
import numpy as np

_STEPS = 8192


def _make_curve() -> np.ndarray:
    """sRGB codes of linear exposures 0 to 1 in ``_STEPS`` steps (IEC 61966-2-1)."""
    x = np.arange(_STEPS) / (_STEPS - 1)
    srgb = np.where(x <= 0.0031308, 12.92 * x, 1.055 * np.power(np.maximum(x, 1e-9), 1 / 2.4) - 0.055)
    return np.round(255 * srgb).astype(np.uint8)


_CURVE = _make_curve()
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Sensor:
    """How one picture is taken.

    Attributes:
        target: mean code value (0 to 255) that automatic exposure aims at.
        gain: noise relative to a clean picture, about 0.2 by day to 2.5 in a dark night.
        glare: strength of light scattered in lens and windscreen.
    """

    target: float
    gain: float
    glare: float


def expose(radiance: np.ndarray, sensor: Sensor, rng: np.random.Generator) -> np.ndarray:
    """uint8 ``[H, W, 3]`` from linear ``radiance`` float32 ``[H, W, 3]``, which is used up."""
    h, w = radiance.shape[:2]
    small = cv2.resize(radiance, (max(2, w * 64 // h), 64), interpolation=cv2.INTER_AREA)
    factor = _exposure(small, sensor.target)
    halo = _halo(np.minimum(small * factor, 60)) * sensor.glare
    # Scattered light has brightened the picture: a camera meters what falls on its sensor.
    factor2 = _exposure(small * factor + halo, sensor.target)
    cv2.GaussianBlur(radiance, (3, 3), 0.55, dst=radiance)
    radiance *= factor * factor2
    radiance += cv2.resize(halo * factor2, (w, h), interpolation=cv2.INTER_LINEAR)
    shot, read = np.float32(0.0007 * sensor.gain), np.float32((0.0022 * sensor.gain) ** 2)
    np.minimum(radiance, 1.5, out=radiance)
    noise = np.sqrt(radiance * shot + read)
    noise *= _normal(rng, radiance.shape)
    radiance += noise
    radiance *= _STEPS - 1
    return _CURVE.take(radiance.astype(np.int32), mode="clip")


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Noise of unit variance as the sum of four random bytes: near enough to normal, and several times faster."""
    count = int(np.prod(shape))
    raw = np.frombuffer(rng.bytes(4 * count), np.uint8).reshape(4, *shape)
    total = cv2.add(raw[0], raw[1], dtype=cv2.CV_32F)
    cv2.accumulate(raw[2], total)
    cv2.accumulate(raw[3], total)
    total -= 510
    total *= 1 / 147.8
    return total


def _exposure(small: np.ndarray, target: float) -> float:
    """The factor that brings the mean code value to ``target``, found by bisection."""
    luma = small @ _LUMA
    low, high = -16.0, 16.0
    for _ in range(14):
        middle = 0.5 * (low + high)
        codes = _CURVE.take((luma * (2.0**middle * (_STEPS - 1))).astype(np.int32), mode="clip")
        mean = codes.mean()
        low, high = (middle, high) if mean < target else (low, middle)
    return float(2.0 ** (0.5 * (low + high)))


def _halo(bright: np.ndarray) -> np.ndarray:
    """Light scattered around what is bright: a tight glow, a wide one, and a veil over the whole picture."""
    excess = np.maximum(bright - 0.8, 0)
    total = np.zeros_like(bright)
    for sigma, weight in ((0.8, 0.16), (2.2, 0.11), (7.0, 0.05)):
        total += weight * cv2.GaussianBlur(excess, (0, 0), sigma)
    return total
