"""Furnishes the street: lamps, trees, boundaries, signs and signals along the kerbs and at the junction."""

import numpy as np

from . import furniture
from . import mesh as m
from .plan import AVENUE, LANE, OUTSKIRTS, SUBURB, URBAN, Dice, Plan, Side
from .world import Light, World

_LEAF = [(0.05, 0.085, 0.02), (0.06, 0.075, 0.02), (0.035, 0.07, 0.025), (0.1, 0.085, 0.02), (0.045, 0.06, 0.03)]
_METAL = [(0.16, 0.165, 0.17), (0.06, 0.065, 0.06), (0.3, 0.3, 0.3), (0.05, 0.08, 0.06)]
_BULBS = [(1.0, 0.56, 0.16), (1.0, 0.5, 0.12), (1.0, 0.86, 0.68), (0.92, 0.97, 1.0), (1.0, 0.78, 0.5)]


def glows(**levels: np.ndarray | tuple[float, float, float]) -> np.ndarray:
    """``[GLOWS, 3]`` radiances by the lower-case name of the glow slot; the others are dark."""
    table = np.zeros((m.GLOWS, 3), np.float32)
    for name, value in levels.items():
        table[getattr(m, name.upper())] = value
    return table


def furnish(world: World, plan: Plan, dice: Dice) -> None:
    """Place everything that does not move."""
    for side in (plan.left, plan.right):
        _boundary(world, plan, dice, side)
        _trees(world, plan, dice, side)
    _lamps(world, plan, dice)
    if plan.junction and plan.style != SUBURB or plan.junction and dice.chance(0.4):
        _signals(world, plan, dice)
    elif dice.chance(0.3):
        _crossing_signal(world, plan, dice)
    _signs(world, plan, dice)


def _boundary(world: World, plan: Plan, dice: Dice, side: Side) -> None:
    """A fence, wall or hedge: before the gardens, or in a city as a rail at the kerb or a wall in front of a yard."""
    if side.boundary is None:
        return
    green = plan.style in (SUBURB, OUTSKIRTS)
    rail = not green and side.boundary == m.FENCE
    material = {m.FENCE: dice.pick((m.BARS, m.MESH, m.PLAIN)), m.WALL: m.BRICK, m.VEGETATION: m.FOLIAGE}[side.boundary]
    material = m.BARS if rail else material
    height = (
        dice.uniform(0.9, 1.1)
        if rail
        else dice.uniform(0.9, 2.3)
        if side.boundary != m.WALL
        else dice.uniform(1.0, 2.8)
    )
    color = {
        m.FENCE: dice.tint(dice.pick(_METAL if material != m.PLAIN else [(0.2, 0.12, 0.06), (0.45, 0.44, 0.4)])),
        m.WALL: dice.tint(dice.pick([(0.24, 0.1, 0.07), (0.34, 0.32, 0.28), (0.28, 0.27, 0.26)])),
        m.VEGETATION: dice.tint(dice.pick(_LEAF)),
    }[side.boundary]
    distance = side.kerb + 0.35 if rail else side.walk()[1] + 0.25
    first, last = (dice.uniform(4, 20), dice.uniform(30, 60)) if rail else (dice.uniform(1, 8), plan.end)
    gate, z = dice.uniform(8, 30), first
    while z < last:
        length = 2.5 if z < 40 else 6.0
        if plan.clear(z, 3) and plan.clear(z + length, 3) and (rail or abs(z - gate) > 2.5):
            x0, x1 = plan.at(side, distance, z), plan.at(side, distance, z + length)
            yaw = float(np.arctan2(x1 - x0, length))
            bay = furniture.panel(side.boundary, material, round(height, 1), length)
            world.add(bay, x0, z, yaw=yaw, paint=[color, [c * 0.8 for c in color]], shadow=False)
        z += length
        if abs(z - gate) > 14 and dice.chance(0.12):
            gate = z + 3


def _trees(world: World, plan: Plan, dice: Dice, side: Side) -> None:
    shape, leaf = dice.whole(0, furniture.TREE_SHAPES - 1), dice.pick(_LEAF)
    if side.trees:
        z, pitch = dice.uniform(4, 14), dice.uniform(8, 15)
        while z < plan.end:
            if plan.clear(z, 4) and dice.chance(0.8):
                height = dice.uniform(5.5, 9.5)
                shape = shape if plan.style == AVENUE else dice.whole(0, furniture.TREE_SHAPES - 1)
                _tree(world, dice, shape, leaf, plan.at(side, side.verge() + 0.3, z), z, height)
            z += pitch * dice.uniform(0.8, 1.25)
    if plan.style in (SUBURB, OUTSKIRTS):
        beyond = side.walk()[1] + 1
        for _ in range(dice.whole(3, 9)):
            z = dice.uniform(6, 90)
            if plan.clear(z, 4):
                x = plan.at(side, beyond + dice.uniform(0.5, 14), z)
                _tree(
                    world, dice, dice.whole(0, furniture.TREE_SHAPES - 1), dice.pick(_LEAF), x, z, dice.uniform(5, 12)
                )
    for _ in range(dice.whole(0, 2) if plan.style == URBAN else dice.whole(2, 8)):
        z = dice.uniform(5, 60)
        if plan.clear(z, 3):
            x = plan.at(side, side.walk()[1] + dice.uniform(0.5, 2.5 if plan.style != URBAN else 0.6), z)
            size = dice.uniform(0.6, 1.5)
            paint = [dice.tint(dice.pick(_LEAF))]
            world.add(
                furniture.bush(dice.whole(0, 5)),
                x,
                z,
                scale=(size * 1.1, size, 1),
                paint=paint,
                param=dice.whole(0, 999),
            )


def _tree(world: World, dice: Dice, shape: int, leaf: tuple, x: float, z: float, height: float) -> None:
    spread = height * dice.uniform(0.85, 1.15) * dice.pick((-1, 1))
    world.add(furniture.tree(shape), x, z, scale=(spread, height, 1), paint=[dice.tint(leaf)], param=dice.whole(0, 999))


def _lamps(world: World, plan: Plan, dice: Dice) -> None:
    """Street lamps at even distances, on one side or alternating."""
    bulb = np.array(dice.pick(_BULBS), np.float32)
    height, spacing = round(dice.uniform(6.5, 9.5), 1), dice.uniform(22, 34)
    power = dice.uniform(900, 2600) * (0.5 if plan.style in (SUBURB, OUTSKIRTS) else 1.0)
    broken, globe = dice.uniform(0.0, 0.2), plan.style in (URBAN, SUBURB) and dice.chance(0.2)
    if globe:
        height, power = 4.2, power * 0.35
    reach, paint = dice.uniform(1.2, 2.4), [dice.tint(dice.pick(_METAL))]
    both = dice.chance(0.6)
    sides = (plan.right, plan.left) if dice.chance(0.5) else (plan.left, plan.right)
    z, i = dice.uniform(-15, 12), 0
    while z < plan.end:
        side = sides[i % 2 if both else 0]
        z, i = z + spacing * (0.5 if both else 1.0), i + 1
        if not plan.clear(z, 0) or z < 1.5 or plan.style == OUTSKIRTS and dice.chance(0.4):
            continue
        distance = side.kerb + 0.6
        x, arm = plan.at(side, distance, z), 0.0 if globe else round(-side.sign * reach, 1)
        on = not dice.chance(broken)
        mesh = furniture.lamp_post(height, arm)
        shine = bulb * (power * 0.25 if not globe else power * 0.1)
        stands = world.add(mesh, x, z, paint=paint, glow=glows(street=shine) if on else None, shadow=False)
        if on and stands:
            tip = (x + arm * 1.2, height, z)
            world.lights.append(Light(tip, bulb * power, None if globe else (0.0, -1.0, 0.0), 0.9))


def _signals(world: World, plan: Plan, dice: Dice) -> None:
    """Signals before the junction for us, behind it as repeaters, and the backs of those for the cross street."""
    assert plan.junction is not None
    near, far = plan.junction
    state = dice.pick(("lamp_red", "lamp_green", "lamp_green", "lamp_amber"))
    cross = "lamp_red" if state != "lamp_red" else "lamp_green"
    paint = [dice.tint(dice.pick(_METAL))]
    arm = dice.chance(0.5)
    for side, z in ((plan.right, near - 1.5), (plan.left, near - 1.5), (plan.right, far + 1.5), (plan.left, far + 1.5)):
        if z > near and dice.chance(0.35):
            continue
        ahead = side.sign > 0 or z > near
        x = plan.at(side, side.kerb + 0.5, z)
        reach = round(-side.sign * dice.uniform(2.5, 4.5), 1) if arm and (z > near) == (near < 22) else 0.0
        _signal_post(world, x, z, reach, not ahead, state if ahead else "", paint)
        if dice.chance(0.7):
            small = plan.at(side, side.kerb + 1.4, z)
            _signal_post(
                world, small, z + 0.8, 0.0, False, cross if state != "lamp_amber" else "lamp_red", paint, small=True
            )


def _signal_post(
    world: World, x: float, z: float, arm: float, away: bool, state: str, paint: list, small: bool = False
) -> None:
    color = {
        "lamp_red": (34.0, 1.6, 0.9),
        "lamp_amber": (32.0, 14.0, 0.6),
        "lamp_green": (1.5, 26.0, 14.0),
        "": (0.0, 0.0, 0.0),
    }[state]
    if small and state == "lamp_amber":
        return
    shine = glows(**{state: color}) if state else None
    mesh = furniture.traffic_light(arm, away, small)
    if not world.add(mesh, x, z, paint=paint, glow=shine, shadow=False) or away or not state:
        return
    third = {"lamp_green": 0.17, "lamp_amber": 0.5, "lamp_red": 0.83}[state]
    heads = [(x, 1.95 + 0.66 * (0.25 if state == "lamp_green" else 0.75))] if small else []
    if not small:
        heads = [(x + (np.sign(arm) * 0.28 if arm else 0), 2.45 + 0.98 * third)]
        if arm:
            heads.append((x + arm * 0.97, 5.4 + 0.98 * third))
    intensity = np.array(color, np.float32) * (0.5 if small else 1.0)
    for hx, hy in heads:
        world.lights.append(Light((float(hx), hy, z - 0.05), intensity, (0.0, -0.1, -1.0), 1.5))


def _crossing_signal(world: World, plan: Plan, dice: Dice) -> None:
    """Signals at a pedestrian crossing between junctions."""
    z, state = dice.uniform(10, 40), dice.pick(("lamp_red", "lamp_green", "lamp_amber"))
    paint = [dice.tint(dice.pick(_METAL))]
    for side in (plan.right, plan.left):
        _signal_post(
            world, plan.at(side, side.kerb + 0.5, z), z, 0.0, side.sign < 0, state if side.sign > 0 else "", paint
        )


def _signs(world: World, plan: Plan, dice: Dice) -> None:
    for side in (plan.right, plan.right, plan.left):
        for _ in range(dice.whole(0, 2)):
            z = dice.uniform(6, 45)
            shape, height = dice.whole(0, furniture.SIGN_SHAPES - 1), round(dice.uniform(2.0, 2.7), 1)
            if plan.clear(z, 1):
                turned = side.sign < 0 and shape != 5 and dice.chance(0.4)
                paint = [(0.2, 0.2, 0.2)]
                x = plan.at(side, side.kerb + 0.45, z)
                world.add(
                    furniture.sign(shape, height),
                    x,
                    z,
                    yaw=dice.uniform(-0.25, 0.25) + 1.2 * turned,
                    paint=paint,
                    shadow=False,
                )
    if plan.style in (AVENUE, OUTSKIRTS) and dice.chance(0.3):
        z = dice.uniform(25, 60)
        color = dice.pick([(0.02, 0.12, 0.4), (0.02, 0.2, 0.09), (0.6, 0.42, 0.03)])
        if plan.clear(z, 2):
            world.add(
                furniture.gantry(-LANE * 1.6),
                plan.at(plan.right, plan.right.kerb + 0.8, z),
                z,
                paint=[color],
                shadow=False,
            )
