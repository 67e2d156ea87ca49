"""Draws a scene: lays out the street, finds what each pixel shows, lights it, and takes the picture."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nightlab.errors import InputError

from . import mesh as m
from .buildings import raise_buildings
from .ground import lay_ground
from .people import fill_pavements
from .plan import Dice, Plan, draw_plan
from .raster import Buffers, rasterize
from .roadside import furnish
from .sensor import Sensor, expose
from .shading import light_day, light_night
from .traffic import fill_lanes
from .weather import draw_weather
from .world import Flat, World

Time = Literal["night", "day"]
MIN_SIDE = 32


@dataclass(frozen=True)
class Scene:
    """A picture and its labels.

    Attributes:
        image: uint8 ``[H, W, 3]``, RGB.
        label: uint8 ``[H, W]``, Cityscapes train ids; 255 where our own bonnet is.
    """

    image: np.ndarray
    label: np.ndarray


def render(seed: int, size: tuple[int, int], time: Time = "night") -> Scene:
    """Draw the scene of a seed.

    The layout depends on the seed alone: another size shows the same street, and night and day share the label map.

    Args:
        seed: any non-negative integer.
        size: height and width in pixels, at least ``MIN_SIDE`` each.

    Raises:
        InputError: a size, seed or time that cannot be drawn.
    """
    if time not in ("night", "day"):
        raise InputError(f"NightStreet: time is 'night' or 'day', not {time!r}")
    if seed < 0 or min(size) < MIN_SIDE:
        raise InputError(
            f"NightStreet: seed {seed} and size {tuple(size)} must be at least 0 and {MIN_SIDE} pixels a side"
        )
    night = time == "night"
    world, plan = lay_out(seed)
    flat = world.flatten()
    buffers = rasterize(flat, plan.camera, size)
    bonnet = _bonnet(plan, size)
    weather = draw_weather(Dice(np.random.default_rng((seed, 2 if night else 3))), night)
    light_up = light_night if night else light_day
    radiance = light_up(world, flat, buffers, plan, size, weather)
    radiance[bonnet] = weather.bonnet
    image = expose(
        radiance, Sensor(weather.target, weather.gain, weather.glare), np.random.default_rng((seed, 4 if night else 5))
    )
    return Scene(image, label_map(flat, buffers, bonnet))


def lay_out(seed: int) -> tuple[World, Plan]:
    """The street of a seed, before it is drawn."""
    dice = Dice(np.random.default_rng((seed, 1)))
    plan, world = draw_plan(dice), World()
    lay_ground(world, plan, dice)
    raise_buildings(world, plan, dice)
    furnish(world, plan, dice)
    fill_lanes(world, plan, dice)
    fill_pavements(world, plan, dice)
    return world, plan


def label_map(flat: Flat, buffers: Buffers, bonnet: np.ndarray) -> np.ndarray:
    """Labels ``[H, W]``; what shows through a fence or a wheel counts as fence or wheel, as in Cityscapes."""
    table = np.concatenate([[m.SKY], flat.label]).astype(np.uint8)
    label = table.take(np.maximum(buffers.ids, buffers.veil))
    label[bonnet] = m.VOID
    return label


def _bonnet(plan: Plan, size: tuple[int, int]) -> np.ndarray:
    """Mask ``[H, W]`` of our own car's bonnet, empty in most scenes."""
    h, w = size
    y, x = (np.arange(h) + 0.5) / h, (np.arange(w) + 0.5 - 0.5 * w) / h
    return (1 - y)[:, None] < plan.bonnet * (1 - 0.35 * np.square(x))
