"""Fills the lanes: parked and moving cars, trucks and buses, the tram, and what crosses at the junction."""

import numpy as np

from . import mesh as m
from . import vehicles
from .ground import track_x
from .mesh import Mesh
from .plan import BAY, LANE, OUTSKIRTS, SUBURB, Dice, Plan, Side
from .roadside import glows
from .world import Light, World

CAR_PAINTS = [
    (0.6, 0.6, 0.6), (0.3, 0.31, 0.32), (0.12, 0.125, 0.13), (0.02, 0.02, 0.022), (0.025, 0.05, 0.16),
    (0.28, 0.02, 0.02),
    (0.03, 0.09, 0.06), (0.4, 0.36, 0.28), (0.06, 0.065, 0.07), (0.03, 0.03, 0.035), (0.5, 0.3, 0.03),
]  # fmt: skip
_BODIES = [
    (0.55, 0.55, 0.53),
    (0.45, 0.4, 0.1),
    (0.08, 0.16, 0.35),
    (0.4, 0.05, 0.04),
    (0.1, 0.22, 0.12),
    (0.3, 0.3, 0.3),
]

_TAIL, _BRAKE = (5.0, 0.22, 0.16), (30.0, 1.2, 0.7)
_HEAD = np.array([1.0, 0.93, 0.8], np.float32)


def fill_lanes(world: World, plan: Plan, dice: Dice) -> None:
    """Place parked vehicles and the traffic of all lanes."""
    for side in (plan.left, plan.right):
        if side.bay or plan.style == SUBURB and dice.chance(0.3):
            _parked(world, plan, dice, side)
    _lanes(world, plan, dice)
    if plan.tram and dice.chance(0.85):
        _tram(world, plan, dice)
    if plan.junction:
        _cross_traffic(world, plan, dice)


def _heading(plan: Plan, z: float, oncoming: bool) -> float:
    return float(np.arctan2(plan.shift(z + 2) - plan.shift(z - 2), 4.0)) + (np.pi if oncoming else 0.0)


def _vehicle(
    world: World,
    dice: Dice,
    mesh: Mesh,
    x: float,
    z: float,
    yaw: float,
    moving: bool,
    lit: bool = False,
    hidden: bool = False,
) -> bool:
    """Place a vehicle; ``moving`` turns its lights on, ``lit`` its inside; ``hidden`` ones light up nothing else."""
    bus = mesh.label[0] in (m.BUS, m.TRAIN)
    body = dice.tint(dice.pick(_BODIES if mesh.label[0] in (m.TRUCK, m.BUS, m.TRAIN) else CAR_PAINTS))
    paint = [body, dice.tint(dice.pick(_BODIES)) if not bus else [c * 0.4 for c in body], dice.tint(dice.pick(_BODIES))]
    braking, cold = dice.chance(0.35), dice.uniform(0.75, 1.0)
    head = _HEAD * (1.0, 1.0, cold) if dice.chance(0.7) else np.array([0.85, 0.93, 1.0], np.float32)
    glow = None
    if moving:
        inside = np.array([1.0, 0.88, 0.68]) * dice.uniform(0.5, 2.0) if lit else (0.0, 0.0, 0.0)
        display = (9.0, 4.5, 0.4) if bus else (0.0, 0.0, 0.0)
        glow = glows(head=head * 140, tail=_TAIL, brake=_BRAKE if braking else _TAIL, interior=inside, display=display)
    if not world.add(mesh, x, z, yaw=yaw, paint=paint, glow=glow, param=dice.whole(0, 999)):
        return False
    if moving and not hidden:
        _lamps(world, mesh, x, z, yaw, head, braking)
    return True


def _lamps(world: World, mesh: Mesh, x: float, z: float, yaw: float, head: np.ndarray, braking: bool) -> None:
    """The lights of a moving vehicle as sources: what they light up, and their glare."""
    low, high = mesh.low, mesh.high
    forward = np.array([np.sin(yaw), np.cos(yaw)])
    right = np.array([forward[1], -forward[0]])
    offset, height = 0.75 * high[0], 0.68 + 0.1 * float(high[1] > 2.2)
    for sign in (-1, 1):
        px, pz = np.array([x, z]) + forward * high[2] + right * sign * offset
        world.lights.append(Light((px, height, pz), head * 5200, (forward[0], -0.06, forward[1]), 14.0))
        px, pz = np.array([x, z]) + forward * low[2] + right * sign * offset
        red = np.array([1.0, 0.045, 0.03], np.float32) * (42 if braking else 12)
        world.lights.append(Light((px, height + 0.05, pz), red, (-forward[0], -0.05, -forward[1]), 1.0))


def _parked(world: World, plan: Plan, dice: Dice, side: Side) -> None:
    z, fill = dice.uniform(-1, 9), dice.uniform(0.35, 0.95)
    middle = side.kerb - 0.5 * BAY + (0.05 if side.bay else -0.1)
    while z < min(plan.end, 100):
        van = dice.chance(0.05)
        if dice.chance(fill) and plan.clear(z, 6) and z > 3.2:
            mesh = vehicles.truck(0) if van else vehicles.car(dice.pick((0, 0, 1, 1, 1, 2, 3)))
            yaw = _heading(plan, z, side.sign < 0) + dice.uniform(-0.03, 0.03)
            x = plan.at(side, middle + dice.uniform(-0.12, 0.12), z)
            _vehicle(world, dice, mesh, x, z, yaw, moving=dice.chance(0.03))
        z += 8.2 if van else dice.uniform(5.3, 6.4)


def _pick_vehicle(dice: Dice, plan: Plan) -> Mesh:
    roll = float(dice.rng.random())
    heavy = 0.14 if plan.style == OUTSKIRTS else 0.09
    if roll < heavy:
        return vehicles.truck(dice.whole(0, 2))
    if roll < heavy + (0.09 if plan.style != SUBURB else 0.05):
        return vehicles.bus()
    return vehicles.car(dice.pick((0, 0, 1, 1, 2, 2, 3)))


def _lanes(world: World, plan: Plan, dice: Dice) -> None:
    """Traffic in every lane, each vehicle clear of the one before."""
    lanes = [(LANE * i, False) for i in range(plan.lanes_right)]
    first = LANE + (3.2 if plan.tram else 0.3)
    lanes += [(-(first + LANE * i), True) for i in range(plan.lanes_left)]
    density = dice.uniform(0.25, 1.3)
    for center, oncoming in lanes:
        z = dice.uniform(7, 30) if center == 0 else dice.uniform(2, 20)
        while z < plan.end:
            mesh = _pick_vehicle(dice, plan)
            half = float(mesh.high[2])
            z += half
            held = (
                plan.junction is not None
                and plan.junction[0] - half - 4 < z < plan.junction[1] + half
                and dice.chance(0.8)
            )
            if dice.chance(0.45 * density + 0.1) and not held:
                x = center + plan.shift(z) + dice.uniform(-0.3, 0.3)
                _vehicle(world, dice, mesh, x, z, _heading(plan, z, oncoming), True, lit=mesh.label[0] == m.BUS)
            z += half + dice.uniform(3, 22) * (1 + z / 60)


def _tram(world: World, plan: Plan, dice: Dice) -> None:
    z = dice.uniform(18, 60)
    oncoming = dice.chance(0.6)
    _vehicle(
        world, dice, vehicles.tram(), track_x(plan) + plan.shift(z), z, _heading(plan, z, oncoming), True, lit=True
    )


def _cross_traffic(world: World, plan: Plan, dice: Dice) -> None:
    """Vehicles on the cross street, in view or waiting."""
    assert plan.junction is not None
    near, far = plan.junction
    for z, yaw in ((near + 0.27 * (far - near), 0.5 * np.pi), (near + 0.75 * (far - near), -0.5 * np.pi)):
        x = -30 + dice.uniform(0, 25)
        while x < 32:
            mesh = vehicles.tram() if dice.chance(0.06) else _pick_vehicle(dice, plan)
            half = float(mesh.high[2])
            x += half
            waiting = plan.left.kerb + half + 1 < -x or x > plan.right.kerb + half + 1
            if dice.chance(0.3 if waiting else 0.22):
                inside = mesh.label[0] in (m.BUS, m.TRAIN)
                # Light does not pass through the houses at the corner; see ``light``, where nothing casts lamp shadows.
                hidden = not -plan.left.front < x < plan.right.front
                turn = yaw + dice.uniform(-0.04, 0.04)
                _vehicle(world, dice, mesh, x + plan.shift(z), z, turn, True, lit=inside, hidden=hidden)
            x += half + dice.uniform(1.5, 16)
