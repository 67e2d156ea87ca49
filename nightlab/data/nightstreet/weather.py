"""Sky, haze, light of the surroundings and the camera's mood, drawn for one picture."""

from dataclasses import dataclass

import numpy as np

from .plan import Dice


@dataclass(frozen=True)
class Weather:
    """Colours are RGB radiances or irradiances on the scene's scale; see ``light``.

    Attributes:
        ambient: irradiance from the whole sky.
        sky_low, sky_high: radiance of the sky at the horizon and overhead.
        clouds: 0 clear to 1 overcast, and ``drift`` where in the clouds' pattern we look.
        stars, moon: number of stars; the moon's direction as (x/z, y/z) or None.
        sun: unit vector to the sun, and its irradiance ``sunlight`` (zero at night or under clouds).
        haze: extinction per metre, and the radiance ``haze_light`` of thick haze.
        wetness: 0 dry to 1 mirroring road.
        headlight: colour and power of our own headlights in candela.
        bonnet: radiance of our own bonnet.
        target, gain, glare: see ``sensor.Sensor``.
    """

    ambient: np.ndarray
    sky_low: np.ndarray
    sky_high: np.ndarray
    clouds: float
    drift: int
    stars: int
    moon: tuple[float, float] | None
    sun: np.ndarray
    sunlight: np.ndarray
    haze: float
    haze_light: np.ndarray
    wetness: float
    headlight: np.ndarray
    bonnet: np.ndarray
    target: float
    gain: float
    glare: float


def _rgb(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def draw_weather(dice: Dice, night: bool) -> Weather:
    """The conditions of one picture at random."""
    return _night(dice) if night else _day(dice)


def _night(dice: Dice) -> Weather:
    dusk = dice.chance(0.14)
    level = dice.uniform(0.12, 0.7) * (4.0 if dusk else 1.0)
    blue = _rgb(0.55, 0.75, 1.25) if dice.chance(0.6) or dusk else _rgb(1.0, 0.85, 0.75)
    city = dice.pick((_rgb(1.0, 0.62, 0.34), _rgb(0.9, 0.75, 0.65), _rgb(0.55, 0.7, 1.0)))
    glow = dice.uniform(0.01, 0.06) * (3.0 if dusk else 1.0)
    moon = (dice.uniform(-0.6, 0.6), dice.uniform(0.1, 0.32)) if dice.chance(0.25) else None
    head = _rgb(1.0, 0.94, 0.82) if dice.chance(0.6) else _rgb(0.86, 0.94, 1.0)
    wet = dice.uniform(0.3, 1.0) if dice.chance(0.4) else 0.0
    return Weather(
        ambient=blue * level,
        sky_low=city * glow + blue * level * 0.03,
        sky_high=blue * level * (0.06 if dusk else 0.025),
        clouds=dice.uniform(0, 1),
        drift=dice.whole(0, 511),
        stars=0 if dusk else dice.whole(0, 120),
        moon=moon,
        sun=_rgb(0, 1, 0),
        sunlight=_rgb(0, 0, 0),
        haze=dice.uniform(0.0002, 0.003),
        haze_light=city * glow * 1.2,
        wetness=wet,
        headlight=head * dice.uniform(2500, 6500),
        bonnet=blue * level * 0.02,
        target=dice.uniform(29, 54),
        gain=dice.uniform(0.7, 2.4),
        glare=dice.uniform(0.5, 1.6),
    )


def _day(dice: Dice) -> Weather:
    overcast = dice.chance(0.45)
    azimuth, height = dice.uniform(-np.pi, np.pi), dice.uniform(0.5, 1.1)
    sun = _rgb(np.sin(azimuth) * np.cos(height), np.sin(height), -np.cos(azimuth) * np.cos(height))
    sunlight = _rgb(0, 0, 0) if overcast else _rgb(1.0, 0.93, 0.8) * dice.uniform(1.2, 2.4)
    ambient = _rgb(0.92, 0.97, 1.0) if overcast else _rgb(0.6, 0.75, 1.0) * 0.75
    return Weather(
        ambient=ambient,
        sky_low=_rgb(0.95, 0.98, 1.0) * (0.9 if overcast else 0.85),
        sky_high=_rgb(0.72, 0.75, 0.8) if overcast else _rgb(0.16, 0.34, 0.75),
        clouds=dice.uniform(0.5, 1) if overcast else dice.uniform(0, 0.6),
        drift=dice.whole(0, 511),
        stars=0,
        moon=None,
        sun=sun,
        sunlight=sunlight,
        haze=dice.uniform(0.0004, 0.0025),
        haze_light=_rgb(0.75, 0.82, 0.9) * 0.7,
        wetness=0.0,
        headlight=_rgb(0, 0, 0),
        bonnet=_rgb(0.1, 0.1, 0.11),
        target=dice.uniform(102, 134),
        gain=dice.uniform(0.15, 0.45),
        glare=0.3,
    )
