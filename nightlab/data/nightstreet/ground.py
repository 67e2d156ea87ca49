"""The ground of the scene: road, markings, pavements, verges, the junction's cross street and the tram's track."""

import numpy as np

from . import mesh as m
from .plan import BAY, LANE, OUTSKIRTS, SUBURB, Dice, Plan
from .world import World

_DEPTHS = np.array([1.2, 2, 3, 4.5, 6, 8, 11, 15, 20, 26, 34, 45, 60, 80, 105, 150, 600], np.float32)
_PAINT = (0.5, 0.5, 0.48)


def lay_ground(world: World, plan: Plan, dice: Dice) -> None:
    """Paint the ground from the lowest layer up."""
    asphalt = dice.tint((0.085, 0.085, 0.09), 0.35)
    paving = dice.tint((0.24, 0.225, 0.2), 0.25)
    grass = dice.tint((0.07, 0.095, 0.035), 0.3)
    green = plan.style in (SUBURB, OUTSKIRTS)
    base = (m.TERRAIN, grass, m.GRASS) if green else (m.SIDEWALK, paving, m.PAVING)
    world.ground([(-900, 1.2), (-900, 900), (900, 900), (900, 1.2)], *base)
    for side in (plan.left, plan.right):
        for strip in side.strips:
            look = (m.TERRAIN, grass, m.GRASS) if strip.label == m.TERRAIN else (m.SIDEWALK, paving, m.PAVING)
            _band(world, plan, side.sign * (side.kerb + strip.inner), side.sign * (side.kerb + strip.outer), *look)
    if plan.junction:
        _cross_street(world, plan, asphalt, paving)
    _band(world, plan, -plan.left.kerb, plan.right.kerb, m.ROAD, asphalt, m.ASPHALT)
    _repairs(world, plan, dice, asphalt)
    for side in (plan.left, plan.right):
        kerb = (side.sign * side.kerb, side.sign * (side.kerb + 0.16))
        _band(world, plan, *kerb, m.SIDEWALK, (0.34, 0.33, 0.31), m.PLAIN, skip_junction=True)
    _markings(world, plan, dice)
    if plan.tram:
        _track(world, plan, grass, dice.chance(0.4))


def _band(
    world: World, plan: Plan, x0: float, x1: float, label: int, color: tuple, material: int, skip_junction: bool = False
) -> None:
    """A band along the road between two distances from its axis."""
    depths = _DEPTHS
    spans = [(float(depths[0]), float(depths[-1]))]
    if skip_junction and plan.junction:
        spans = [(spans[0][0], plan.junction[0]), (plan.junction[1], spans[0][1])]
    for near, far in spans:
        z = np.concatenate([[near], depths[(depths > near) & (depths < far)], [far]])
        x = plan.shift(z)
        line = np.concatenate([np.column_stack([x + x0, z]), np.column_stack([x + x1, z])[::-1]])
        world.ground(line, label, color, material)


def _patch(world: World, plan: Plan, x: tuple, z: tuple, color: tuple, material: int, label: int = m.ROAD) -> None:
    """A rectangle on the road that follows its bend."""
    a, b = plan.shift(z[0]), plan.shift(z[1])
    corners = [(x[0] + a, z[0]), (x[0] + b, z[1]), (x[1] + b, z[1]), (x[1] + a, z[0])]
    world.ground(corners, label, color, material)


def _cross_street(world: World, plan: Plan, asphalt: tuple, paving: tuple) -> None:
    assert plan.junction is not None
    near, far = plan.junction
    walk = 2.5
    for side in (plan.left, plan.right):
        edge = plan.at(side, side.kerb, near)
        out = side.sign * 400
        world.ground(
            [(edge, near - walk), (edge, far + walk), (out, far + walk), (out, near - walk)],
            m.SIDEWALK,
            paving,
            m.PAVING,
        )
        world.ground([(edge, near), (edge, far), (out, far), (out, near)], m.ROAD, asphalt, m.ASPHALT)


def _repairs(world: World, plan: Plan, dice: Dice, asphalt: tuple) -> None:
    """Patches of newer or older asphalt, and manholes."""
    for _ in range(dice.whole(2, 6)):
        x, z = dice.uniform(-plan.left.kerb, plan.right.kerb - 2), dice.uniform(4, 40)
        wear = dice.uniform(0.7, 1.25)
        color = tuple(c * wear for c in asphalt)
        x1 = min(x + dice.uniform(0.8, 2.5), plan.right.kerb)
        _patch(world, plan, (x, x1), (z, z + dice.uniform(1, 9)), color, m.ASPHALT)
    for _ in range(dice.whole(0, 2)):
        x, z = dice.uniform(-2.5, 1.5), dice.uniform(6, 20)
        angle = np.arange(12) * (np.pi / 6)
        world.ground(
            np.column_stack([x + plan.shift(z) + 0.35 * np.cos(angle), z + 0.35 * np.sin(angle)]),
            m.ROAD,
            (0.05, 0.05, 0.05),
            m.PLAIN,
        )


def _dashes(world: World, plan: Plan, x: float, dash: float, gap: float, offset: float) -> None:
    z = offset
    while z < 110:
        if z > 1.2 and plan.clear(z, 4) and plan.clear(z + dash, 4):
            _patch(world, plan, (x - 0.07, x + 0.07), (z, z + dash), _PAINT, m.PLAIN)
        z += dash + gap


def _line(world: World, plan: Plan, x: float) -> None:
    spans = [(1.2, 120.0)] if not plan.junction else [(1.2, plan.junction[0] - 2), (plan.junction[1] + 2, 120.0)]
    for near, far in spans:
        steps = np.linspace(near, far, 2 + int((far - near) / 12))
        for i in range(len(steps) - 1):
            _patch(world, plan, (x - 0.06, x + 0.06), (steps[i], steps[i + 1]), _PAINT, m.PLAIN)


def _markings(world: World, plan: Plan, dice: Dice) -> None:
    offset = dice.uniform(-6, 2)
    if plan.style != SUBURB or dice.chance(0.6):
        if plan.lanes_left > 1 and not plan.tram and dice.chance(0.5):
            _line(world, plan, -0.5 * LANE - 0.15)
        else:
            _dashes(world, plan, -0.5 * LANE - (0.0 if not plan.tram else 0.1), 3, dice.pick((3, 6)), offset)
    for i in range(1, plan.lanes_right):
        _dashes(world, plan, LANE * (i - 0.5), 3, 6, offset)
    for i in range(1, plan.lanes_left):
        _dashes(world, plan, -LANE * (i + 0.5) - (3.2 if plan.tram else 0.3), 3, 6, offset)
    for side in (plan.left, plan.right):
        if side.bay and dice.chance(0.7):
            for z in np.arange(dice.uniform(2, 7), 60, 5.8):
                if plan.clear(z, 4):
                    edges = sorted((side.sign * (side.kerb - BAY), side.sign * side.kerb))
                    _patch(world, plan, tuple(edges), (z, z + 0.1), _PAINT, m.PLAIN)
        elif not side.bay and plan.style == OUTSKIRTS:
            _line(world, plan, side.sign * (side.kerb - 0.25))
    if plan.junction:
        near, far = plan.junction
        for z in (near - 3.6, far + 0.8):
            for x in np.arange(-plan.left.kerb + 0.5, plan.right.kerb - 0.4, 1.0):
                _patch(world, plan, (x, x + 0.5), (z, z + 2.8), _PAINT, m.PLAIN)
        _patch(world, plan, (-0.5 * LANE, plan.right.kerb), (near - 5.0, near - 4.6), _PAINT, m.PLAIN)


def track_x(plan: Plan) -> float:
    """Distance of the tram's axis from x = 0."""
    return -0.5 * LANE - 1.75


def _track(world: World, plan: Plan, grass: tuple, green: bool) -> None:
    """Rails in the middle of the street, in asphalt or in grass."""
    x = track_x(plan)
    if green:
        _band(world, plan, x - 1.35, x + 1.35, m.TERRAIN, grass, m.GRASS, skip_junction=True)
    for rail in (x - 0.72, x + 0.72):
        _band(world, plan, rail - 0.07, rail + 0.07, m.TERRAIN if green else m.ROAD, (0.2, 0.19, 0.18), m.PLAIN)
