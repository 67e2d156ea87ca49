"""Buildings along the street, across the junction and at its far end, as facades, end walls and roofs."""

import numpy as np

from . import mesh as m
from .mesh import MeshBuilder
from .plan import AVENUE, OUTSKIRTS, SUBURB, URBAN, Dice, Plan, Side
from .world import World

_WALLS = [
    (0.42, 0.36, 0.27),
    (0.22, 0.09, 0.06),
    (0.3, 0.3, 0.3),
    (0.58, 0.55, 0.5),
    (0.46, 0.36, 0.18),
    (0.13, 0.13, 0.14),
    (0.3, 0.2, 0.14),
    (0.38, 0.24, 0.2),
]
_WALL, _TRIM, _ROOF, _AWNING = range(4)
_AWNINGS = [(0.4, 0.04, 0.04), (0.05, 0.2, 0.1), (0.5, 0.5, 0.45), (0.05, 0.1, 0.3)]
_ROOFS = [(0.16, 0.06, 0.045), (0.06, 0.06, 0.065), (0.1, 0.08, 0.07)]


def windows(dice: Dice, height: float, floor: float, lit: float, shop: bool) -> tuple:
    """The windows of a facade at random.

    Returns pitch and floor height in metres, the window's share of either, the share of windows lit, how many of
    those are warm, 1 for shops on the ground floor, and the building's height in metres.
    """
    wide = dice.uniform(0.35, 0.62)
    return (
        dice.uniform(1.7, 3.2), floor, wide, dice.uniform(0.42, 0.62), lit, dice.uniform(0, 1), float(shop), height
    )  # fmt: skip


def raise_buildings(world: World, plan: Plan, dice: Dice) -> None:
    """The far end first, then both sides from far to near."""
    _far_end(world, plan, dice)
    blocks = [(z, length, side) for side in (plan.left, plan.right) for z, length in _lots(plan, dice, side)]
    for z, length, side in sorted(blocks, key=lambda block: -block[0]):
        _building(world, plan, dice, side, z, length)


def _lots(plan: Plan, dice: Dice, side: Side) -> list[tuple[float, float]]:
    """(start, length) along the road of each building on one side."""
    gap = {URBAN: 0.08, AVENUE: 0.1, SUBURB: 1.0, OUTSKIRTS: 1.0}[plan.style]
    lots, z = [], dice.uniform(-12, 1.0)
    while z < plan.end - 8:
        length = dice.uniform(8, 13) if plan.style == SUBURB else dice.uniform(9, 24)
        if plan.junction and z < plan.junction[1] + 2.5 and z + length > plan.junction[0] - 2.5:
            length = plan.junction[0] - 2.5 - z
            if length > 5 and z > -10:
                lots.append((z, length))
            z = plan.junction[1] + 2.5
            continue
        if z + length > 3:
            lots.append((z, length))
        z += length
        if dice.chance(gap):
            z += dice.uniform(2, 7) if plan.style != OUTSKIRTS else dice.uniform(8, 45)
    return lots


def _building(world: World, plan: Plan, dice: Dice, side: Side, z0: float, length: float) -> None:
    house = plan.style == SUBURB or plan.style == OUTSKIRTS and dice.chance(0.5)
    floor = dice.uniform(2.8, 3.6)
    floors = dice.whole(1, 2) if house else dice.whole(2, 7) if plan.style != OUTSKIRTS else dice.whole(2, 3)
    height = floors * floor + (0.4 if house else 0.8)
    color = dice.tint(dice.pick(_WALLS))
    shop = not house and dice.chance(0.45 if plan.style == URBAN else 0.25)
    face = windows(dice, height, floor, dice.uniform(0.08, 0.55), shop)
    setback = dice.uniform(0, 0.8) if not house else dice.uniform(0, 2.5)
    z0, z1 = max(z0, 1.2), z0 + length
    if z1 < z0 + 1:
        return
    xa, xb = plan.at(side, side.front + setback, z0), plan.at(side, side.front + setback, z1)
    back = xa + side.sign * (dice.uniform(8, 11) if house else dice.uniform(12, 26))
    after_junction = plan.junction is not None and 0 < z0 - plan.junction[1] < 6
    if after_junction:
        back = xa + side.sign * 70
    b = MeshBuilder(m.BUILDING, two_sided=True)
    trim = tuple(min(0.8, c * 1.25) for c in color)
    roof, cloth = dice.tint(dice.pick(_ROOFS)), dice.pick(_AWNINGS)
    pane = world.pane(face)
    end_pane = pane if after_junction or house else world.pane((*face[:4], face[4] * 0.5, face[5], 0.0, height))
    if house:
        _pitched_roof(b, (xa, xb, back), (z0, z1), height, dice.uniform(1.8, 3.4))
    end = [(xa, 0, z0), (xa, height, z0), (back, height, z0), (back, 0, z0)]
    b.face(end, _WALL, material=m.PLASTER, pane=end_pane, shade=0.92)
    front = [(xa, 0, z0), (xa, height, z0), (xb, height, z1), (xb, 0, z1)]
    b.face(front, _WALL, material=m.PLASTER, pane=pane)
    if not house:
        _crown(b, (xa, xb), (z0, z1), height, side.sign)
        if shop and dice.chance(0.35) and z0 > 8:
            _awning(b, side.sign, xa, z0 + dice.uniform(0, 2), dice.uniform(3, 6), floor)
    world.add(b.build(), 0, 0, paint=[color, trim, roof, cloth])


def _pitched_roof(b: MeshBuilder, x: tuple, z: tuple, height: float, rise: float) -> None:
    """A ridge along the street: the gable towards the camera and the slope towards the road."""
    xa, xb, back = x
    ridge, top = 0.5 * (xa + back), height + rise
    eaves = xa - np.sign(back - xa) * 0.4
    b.face([(xa, height, z[0]), (ridge, top, z[0]), (back, height, z[0])], _WALL, material=m.PLASTER, shade=0.9)
    slope = [
        (eaves, height - 0.2, z[0]),
        (ridge, top, z[0]),
        (ridge + xb - xa, top, z[1]),
        (eaves + xb - xa, height - 0.2, z[1]),
    ]
    b.face(slope, _ROOF, material=m.BRICK)


def _crown(b: MeshBuilder, x: tuple, z: tuple, height: float, sign: int) -> None:
    """A cornice that stands a little forward of the facade."""
    xa, xb = x[0] - sign * 0.25, x[1] - sign * 0.25
    low = height - 0.5
    b.face([(xa, low, z[0]), (xa, height, z[0]), (xb, height, z[1]), (xb, low, z[1])], _TRIM)
    b.face([(xa, low, z[0]), (xa, height, z[0]), (x[0], height, z[0]), (x[0], low, z[0])], _TRIM)


def _awning(b: MeshBuilder, sign: int, xa: float, z: float, length: float, floor: float) -> None:
    """A sloping awning over a shop window."""
    out, top, far = xa - sign * 1.3, floor * 0.95, z + length
    b.face([(xa, top, z), (out, top - 0.5, z), (out, top - 0.5, far), (xa, top, far)], _AWNING)
    b.face(
        [(out, top - 0.75, z), (out, top - 0.5, z), (out, top - 0.5, far), (out, top - 0.75, far)], _AWNING, shade=0.8
    )


def _far_end(world: World, plan: Plan, dice: Dice) -> None:
    """A skyline that closes the view, with taller blocks in a city."""
    middle = plan.shift(plan.end + 60)
    tall = {URBAN: 26, AVENUE: 30, SUBURB: 11, OUTSKIRTS: 12}[plan.style]
    for z, rise in ((plan.end + 90, 1.6), (plan.end + 40, 1.0)):
        x = middle - 190 - dice.uniform(0, 20)
        while x < middle + 190:
            wide = dice.uniform(10, 30)
            height = dice.uniform(0.35, 1.0) * tall * rise
            near_axis = abs(x + 0.5 * wide - middle) < 22
            if dice.chance(0.85) and not (near_axis and rise == 1.0 and plan.style != SUBURB and dice.chance(0.6)):
                pane = world.pane(windows(dice, height, 3.2, dice.uniform(0.05, 0.35), False))
                corners = [(x, 0, z), (x, height, z), (x + wide, height, z), (x + wide, 0, z)]
                world.distance(corners, dice.tint(dice.pick(_WALLS), 0.3), pane)
            x += wide
    if plan.style in (SUBURB, OUTSKIRTS):
        _treeline(world, plan, dice, middle)


def _treeline(world: World, plan: Plan, dice: Dice, middle: float) -> None:
    """Woods in front of the skyline."""
    z, n = plan.end + 30, 60
    x = np.linspace(middle - 220, middle + 220, n)
    top = 6 + 3 * np.sin(np.linspace(0, dice.uniform(6, 14), n) + dice.uniform(0, 6)) + 1.6 * dice.rng.random(n)
    outline = [(middle - 220, 0, z), *zip(x, top, [z] * n, strict=True), (middle + 220, 0, z)]
    world.distance(outline, dice.tint((0.05, 0.075, 0.025)), label=m.VEGETATION)
