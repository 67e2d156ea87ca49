"""Fills the pavements: pedestrians, cyclists and motorcyclists, and parked two-wheelers."""

import numpy as np

from . import figures
from .plan import AVENUE, BAY, LANE, OUTSKIRTS, SUBURB, URBAN, Dice, Plan, Side
from .roadside import glows
from .traffic import CAR_PAINTS
from .world import Light, World

_CLOTHES = [
    (0.025, 0.025, 0.03), (0.05, 0.06, 0.09), (0.03, 0.05, 0.13), (0.1, 0.1, 0.1), (0.3, 0.28, 0.25),
    (0.25, 0.03, 0.04),
    (0.55, 0.55, 0.53), (0.12, 0.08, 0.04), (0.05, 0.1, 0.05), (0.45, 0.3, 0.05), (0.02, 0.02, 0.02),
]  # fmt: skip
_TROUSERS = [(0.02, 0.02, 0.025), (0.03, 0.045, 0.1), (0.06, 0.06, 0.06), (0.12, 0.1, 0.07), (0.04, 0.035, 0.03)]


def fill_pavements(world: World, plan: Plan, dice: Dice) -> None:
    """Place who walks and rides, and what they have parked."""
    for side in (plan.left, plan.right):
        _two_wheelers_parked(world, plan, dice, side)
    _riders(world, plan, dice)
    _pedestrians(world, plan, dice)


def _clothes(dice: Dice) -> list[tuple]:
    extra = dice.pick([(0.5, 0.5, 0.5), (0.03, 0.03, 0.03), (0.4, 0.03, 0.03), (0.03, 0.08, 0.3), (0.5, 0.4, 0.05)])
    return [dice.tint(dice.pick(_CLOTHES)), dice.tint(dice.pick(_TROUSERS)), extra, dice.tint(dice.pick(CAR_PAINTS))]


def _two_wheelers_parked(world: World, plan: Plan, dice: Dice, side: Side) -> None:
    """Bicycles and motorcycles without riders, in small groups at the kerb or against the facades."""
    if not dice.chance(0.5 if plan.style in (URBAN, AVENUE) else 0.2):
        return
    z, wall = dice.uniform(4.5, 22), dice.chance(0.4)
    motor = dice.chance(0.35)
    for _ in range(dice.whole(1, 4)):
        if plan.clear(z, 2):
            distance = side.walk()[1] - 0.4 if wall else side.kerb + 0.7
            mesh = figures.motorcycle_side(False) if motor else figures.bicycle_side(False)
            yaw = dice.uniform(-1.0, -0.5) if dice.chance(0.6) else dice.uniform(-0.3, 0.3)
            world.add(
                mesh, plan.at(side, distance, z), z, yaw=yaw, scale=(dice.pick((-1, 1)), 1, 1), paint=_clothes(dice)
            )
        z += dice.uniform(0.7, 2.5)


def _riders(world: World, plan: Plan, dice: Dice) -> None:
    """Cyclists and motorcyclists along the road, or across the junction seen from the side."""
    count = dice.pick((0, 1, 1, 2, 2, 3)) if plan.style != OUTSKIRTS else dice.pick((0, 1, 1))
    for _ in range(count):
        motor = dice.chance(0.42)
        crossing = dice.chance(0.35)
        z = dice.uniform(6, 34)
        if crossing:
            z = plan.junction[0] + dice.uniform(0.5, 4) if plan.junction else z
            side_on = figures.motorcycle_side if motor else figures.bicycle_side
            mesh, facing = side_on(True), dice.pick((-1, 1))
            x, yaw = dice.uniform(-4.5, 5.0), dice.uniform(-0.6, 0.6)
            scale = (facing, 1, 1)
        else:
            away = dice.chance(0.65)
            along = figures.motorcycle_along if motor else figures.bicycle_along
            mesh, yaw, scale = along(True, away), dice.uniform(-0.3, 0.3), (1, 1, 1)
            edge = plan.right.kerb - (BAY if plan.right.bay else 0) - dice.uniform(0.5, 1.0)
            x = edge if away else -0.5 * LANE - (3.2 if plan.tram else 0.5) - dice.uniform(0.5, 1.6)
            x = dice.uniform(-0.8, 1.0) if motor and away and dice.chance(0.4) else x
        x += float(plan.shift(z))
        if world.taken(x, z, 0.5):
            continue
        lamp = glows(head=(45.0, 42.0, 36.0), tail=(6.0, 0.25, 0.2)) if dice.chance(0.75) else None
        placed = world.add(mesh, x, z, yaw=yaw, scale=scale, paint=_clothes(dice), glow=lamp)
        if placed and lamp is not None and not crossing:
            _rider_lamp(world, x, z, away, motor)


def _rider_lamp(world: World, x: float, z: float, away: bool, motor: bool) -> None:
    if away:
        world.lights.append(Light((x, 0.75, z - 0.05), np.array([8, 0.4, 0.3], np.float32), (0.0, 0.0, -1.0), 1.0))
    else:
        color = np.array([1.0, 0.95, 0.85], np.float32) * (3500 if motor else 500)
        world.lights.append(Light((x, 0.82, z - 0.05), color, (0.0, -0.07, -1.0), 12.0))


def _pedestrians(world: World, plan: Plan, dice: Dice) -> None:
    """People on the pavements, alone or in pairs, and some on the crossing."""
    busy = {URBAN: 12, AVENUE: 12, SUBURB: 6, OUTSKIRTS: 3}[plan.style]
    for side in (plan.left, plan.right):
        inner, outer = side.walk()
        for _ in range(dice.whole(0, busy)):
            z = dice.uniform(5, 20) if dice.chance(0.5) else dice.uniform(12, 60)
            if not plan.clear(z, 0):
                continue
            x = plan.at(side, dice.uniform(inner + 0.4, outer - 0.3), z)
            _person(world, dice, x, z)
            if dice.chance(0.3):
                _person(world, dice, x + 0.55, z + dice.uniform(-0.3, 0.3))
    crossing = dice.chance(0.5)
    for _ in range(dice.whole(1, 4) if crossing else 0):
        z = plan.junction[0] - dice.uniform(1.2, 3.2) if plan.junction else dice.uniform(9, 30)
        x = dice.uniform(-plan.left.kerb, plan.right.kerb) + float(plan.shift(z))
        if not world.taken(x, z, 0.4):
            _person(world, dice, x, z, pose=dice.whole(4, 7))


def _person(world: World, dice: Dice, x: float, z: float, pose: int | None = None) -> None:
    pose = dice.whole(0, figures.PERSON_POSES - 1) if pose is None else pose
    size = dice.uniform(0.9, 1.06) if dice.chance(0.9) else dice.uniform(0.55, 0.8)
    scale = (size * dice.pick((-1, 1)) * dice.uniform(0.95, 1.15), size, 1)
    world.add(figures.person(pose), x, z, yaw=dice.uniform(-0.35, 0.35), scale=scale, paint=_clothes(dice))
