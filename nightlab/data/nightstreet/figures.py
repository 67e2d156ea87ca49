"""Persons, riders and two-wheelers: flat jointed figures that stand upright in the plane z = 0.

Instance paints: 0 top, 1 trousers, 2 bag or helmet, 3 the vehicle. Ridden and parked two-wheelers are the same mesh,
so that only being on one tells a rider from a pedestrian.
"""

from functools import cache

from . import mesh as m
from .mesh import Mesh, MeshBuilder

TOP, TROUSERS, EXTRA, VEHICLE = range(4)
PERSON_POSES = 8


def _head(b: MeshBuilder, x: float, y: float, helmet: bool = False, away: bool = False) -> None:
    b.limb((x, y - 0.16), (x, y - 0.06), 0.1, 0.09, m.SKIN)
    b.disc((x, y), (0.095, 0.125), m.HAIR if away else m.SKIN, 10)
    if helmet:
        b.face(
            [(x - 0.13, y - 0.02), (x - 0.12, y + 0.1), (x, y + 0.17), (x + 0.12, y + 0.1), (x + 0.13, y - 0.02)], EXTRA
        )
    else:
        b.face([(x - 0.1, y), (x - 0.1, y + 0.09), (x, y + 0.15), (x + 0.1, y + 0.09), (x + 0.1, y + 0.03)], m.HAIR)


def _arm(b: MeshBuilder, shoulder: tuple, elbow: tuple, hand: tuple, shade: float = 0.8) -> None:
    b.limb(shoulder, elbow, 0.12, 0.1, TOP, shade=shade)
    b.limb(elbow, hand, 0.1, 0.08, TOP, shade=shade)
    b.disc(hand, 0.05, m.SKIN, 6, shade=shade)


def _leg(b: MeshBuilder, hip: tuple, knee: tuple, foot: tuple, shade: float = 1.0, toe: float = 0.0) -> None:
    b.limb(hip, knee, 0.17, 0.13, TROUSERS, shade=shade)
    b.limb(knee, foot, 0.13, 0.1, TROUSERS, shade=shade)
    x, y = foot
    b.face([(x - 0.06, y - 0.07), (x - 0.06, y + 0.03), (x + 0.06, y + 0.03), (x + 0.07 + toe, y - 0.07)], m.SHOE)


def _facing(b: MeshBuilder, away: bool, stride: float) -> None:
    """A person seen from the front or from behind."""
    for side, lift in ((-1, stride), (1, -stride)):
        _leg(
            b,
            (side * 0.09, 0.86),
            (side * 0.1, 0.47 + 0.3 * max(lift, 0)),
            (side * 0.1, 0.07 + max(lift, 0)),
            1 - 0.2 * (lift > 0),
        )
    b.face(
        [(-0.21, 0.9), (-0.24, 1.3), (-0.17, 1.44), (0.17, 1.44), (0.24, 1.3), (0.21, 0.9), (0.2, 0.78), (-0.2, 0.78)],
        TOP,
    )
    for side in (-1, 1):
        _arm(b, (side * 0.24, 1.36), (side * 0.29, 1.08), (side * 0.28, 0.82))
    _head(b, 0.0, 1.61, away=away)


def _walking(b: MeshBuilder, reach: float) -> None:
    """A person who walks to the right, ``reach`` metres from foot to foot."""
    r = 0.5 * reach
    _arm(b, (0.0, 1.36), (0.5 * r + 0.04, 1.1), (r * 0.9 + 0.05, 0.92), 0.6)
    _leg(b, (0.0, 0.88), (-0.3 * r, 0.48), (-r - 0.06, 0.1), 0.7, 0.08)
    _leg(b, (0.0, 0.88), (0.7 * r, 0.49), (r, 0.07), 1.0, 0.1)
    b.face([(-0.14, 0.8), (-0.16, 1.25), (-0.08, 1.45), (0.09, 1.44), (0.15, 1.25), (0.14, 0.8)], TOP)
    _arm(b, (-0.01, 1.36), (-0.6 * r - 0.04, 1.1), (-0.8 * r, 0.9), 0.85)
    _head(b, 0.02, 1.61)
    b.face([(0.1, 1.56), (0.1, 1.68), (0.125, 1.62)], m.SKIN)


@cache
def person(pose: int) -> Mesh:
    """A pedestrian of 1.75 m; ``pose`` in ``range(PERSON_POSES)``."""
    b = MeshBuilder(m.PERSON, two_sided=True)
    if pose < 4:
        _facing(b, away=pose % 2 == 1, stride=0.14 * (pose // 2))
        if pose == 3:
            b.face([(-0.15, 0.98), (-0.17, 1.38), (0.17, 1.38), (0.15, 0.98)], EXTRA)
    else:
        _walking(b, (0.25, 0.5, 0.72, 0.6)[pose - 4])
        if pose == 5:
            b.face([(-0.3, 0.98), (-0.28, 1.36), (-0.1, 1.38), (-0.12, 0.96)], EXTRA)
        if pose == 7:
            b.face([(-0.4, 0.5), (-0.4, 0.78), (-0.16, 0.8), (-0.16, 0.5)], EXTRA)
    return b.build()


def _wheel(b: MeshBuilder, x: float, radius: float, tyre: float) -> None:
    b.disc((x, radius), radius - 0.5 * tyre, m.STEEL, 14, material=m.SPOKES)
    b.ring((x, radius), radius, radius - tyre, m.TYRE)


@cache
def bicycle_side(ridden: bool) -> Mesh:
    """A bicycle heading right, with or without its rider."""
    b = MeshBuilder(m.BICYCLE, two_sided=True)
    for x in (-0.52, 0.52):
        _wheel(b, x, 0.34, 0.045)
    if ridden:
        b.label = m.RIDER
        _leg(b, (-0.2, 0.96), (0.16, 0.72), (-0.02, 0.5), 0.65, 0.08)
        b.label = m.BICYCLE
    joints = {
        "rear": (-0.52, 0.34),
        "crank": (-0.05, 0.3),
        "seat": (-0.2, 0.84),
        "head": (0.36, 0.88),
        "front": (0.52, 0.34),
    }
    for start, end in (
        ("rear", "crank"),
        ("crank", "seat"),
        ("seat", "rear"),
        ("seat", "head"),
        ("crank", "head"),
        ("head", "front"),
    ):
        b.limb(joints[start], joints[end], 0.04, 0.04, VEHICLE)
    b.limb((0.34, 0.88), (0.33, 1.02), 0.035, 0.035, m.STEEL)
    b.limb((0.33, 1.02), (0.46, 1.05), 0.035, 0.04, m.PLASTIC)
    b.limb((-0.34, 0.92), (-0.1, 0.93), 0.06, 0.04, m.LEATHER)
    b.disc((-0.05, 0.3), 0.09, m.STEEL, 8)
    b.disc((0.5, 0.9), 0.05, m.CHROME, 6, glow=m.HEAD)
    b.disc((-0.46, 0.74), 0.05, m.RED, 6, glow=m.TAIL, material=m.RETRO)
    if ridden:
        b.label = m.RIDER
        _leg(b, (-0.2, 0.96), (0.2, 0.66), (-0.06, 0.2), 1.0, 0.1)
        b.face([(-0.33, 0.9), (-0.3, 1.1), (0.02, 1.5), (0.14, 1.46), (0.1, 1.28), (-0.06, 0.92)], TOP)
        _arm(b, (0.07, 1.42), (0.22, 1.2), (0.42, 1.07))
        _head(b, 0.18, 1.62, helmet=True)
    return b.build()


@cache
def bicycle_along(ridden: bool, away: bool) -> Mesh:
    """A bicycle seen from behind (``away``) or from the front, with or without its rider."""
    b = MeshBuilder(m.BICYCLE, two_sided=True)
    b.limb((0, 0.03), (0, 0.66), 0.06, 0.06, m.TYRE)
    b.limb((0, 0.6), (0, 0.95), 0.05, 0.05, VEHICLE)
    b.limb((-0.28, 1.0), (0.28, 1.0), 0.04, 0.04, m.PLASTIC)
    b.limb((-0.14, 0.3), (0.14, 0.26), 0.05, 0.05, m.STEEL)
    if not ridden:
        b.limb((-0.08, 0.93), (0.08, 0.93), 0.07, 0.07, m.LEATHER)
    else:
        b.label = m.RIDER
        for side, y in ((-1, 0.2), (1, 0.42)):
            _leg(b, (side * 0.1, 0.92), (side * 0.15, 0.5 + y * 0.45), (side * 0.13, y), 0.9)
        b.face([(-0.18, 0.86), (-0.22, 1.25), (-0.16, 1.42), (0.16, 1.42), (0.22, 1.25), (0.18, 0.86)], TOP)
        for side in (-1, 1):
            _arm(b, (side * 0.22, 1.36), (side * 0.31, 1.16), (side * 0.27, 1.01))
        _head(b, 0, 1.57, helmet=True, away=away)
        b.label = m.BICYCLE
    y = 0.7 if away else 0.85
    b.disc((0, y), 0.05, m.RED if away else m.CHROME, 6, glow=m.TAIL if away else m.HEAD, material=m.RETRO)
    return b.build()


@cache
def motorcycle_side(ridden: bool) -> Mesh:
    """A motorcycle heading right, with or without its rider."""
    b = MeshBuilder(m.MOTORCYCLE, two_sided=True)
    for x in (-0.68, 0.68):
        _wheel(b, x, 0.31, 0.13)
        b.disc((x, 0.31), 0.1, m.STEEL, 8)
    b.limb((-0.68, 0.31), (-0.1, 0.36), 0.09, 0.09, m.STEEL)
    b.limb((0.68, 0.31), (0.42, 0.95), 0.07, 0.07, m.CHROME)
    b.face([(-0.28, 0.28), (-0.3, 0.55), (0.3, 0.6), (0.34, 0.3), (0.1, 0.2)], m.PLASTIC)
    b.limb((-0.8, 0.34), (-0.1, 0.27), 0.1, 0.08, m.CHROME)
    b.face(
        [
            (-0.85, 0.72),
            (-0.82, 0.84),
            (-0.3, 0.78),
            (-0.05, 0.8),
            (0.0, 0.96),
            (0.3, 0.98),
            (0.46, 0.8),
            (0.3, 0.6),
            (-0.4, 0.55),
        ],
        VEHICLE,
    )
    b.face([(-0.8, 0.82), (-0.76, 0.9), (-0.3, 0.86), (-0.06, 0.83), (-0.1, 0.76), (-0.4, 0.74)], m.LEATHER)
    b.limb((0.4, 0.95), (0.24, 1.06), 0.04, 0.05, m.PLASTIC)
    b.limb((0.5, 0.7), (0.86, 0.66), 0.05, 0.04, VEHICLE)
    b.disc((0.52, 0.88), 0.1, m.CHROME, 8, glow=m.HEAD)
    b.disc((-0.86, 0.76), 0.07, m.RED, 6, glow=m.TAIL, material=m.RETRO)
    if ridden:
        b.label = m.RIDER
        _leg(b, (-0.25, 0.86), (0.16, 0.74), (-0.06, 0.36), 1.0, 0.1)
        b.face([(-0.42, 0.82), (-0.4, 1.05), (-0.14, 1.42), (0.02, 1.4), (0.02, 1.15), (-0.12, 0.82)], TOP)
        _arm(b, (-0.04, 1.34), (0.06, 1.1), (0.28, 1.05))
        b.disc((0.07, 1.56), (0.15, 0.17), EXTRA, 10)
        b.face([(0.1, 1.5), (0.1, 1.62), (0.23, 1.62), (0.23, 1.5)], m.GLASS)
    return b.build()


@cache
def motorcycle_along(ridden: bool, away: bool) -> Mesh:
    """A motorcycle seen from behind (``away``) or from the front, with or without its rider."""
    b = MeshBuilder(m.MOTORCYCLE, two_sided=True)
    b.limb((0, 0.05), (0, 0.6), 0.16, 0.15, m.TYRE)
    b.face([(-0.2, 0.42), (-0.24, 0.75), (-0.12, 0.95), (0.12, 0.95), (0.24, 0.75), (0.2, 0.42)], VEHICLE)
    b.limb((-0.36, 1.03), (0.36, 1.03), 0.05, 0.05, m.PLASTIC)
    b.limb((0.2, 0.32), (0.24, 0.45), 0.1, 0.1, m.CHROME)
    for side in (-1, 1):
        b.disc((side * 0.42, 1.14), (0.08, 0.055), m.CHROME, 8)
    if ridden:
        b.label = m.RIDER
        for side in (-1, 1):
            _leg(b, (side * 0.12, 0.88), (side * 0.29, 0.72), (side * 0.24, 0.34), 0.9)
        b.face([(-0.21, 0.82), (-0.27, 1.24), (-0.19, 1.42), (0.19, 1.42), (0.27, 1.24), (0.21, 0.82)], TOP)
        for side in (-1, 1):
            _arm(b, (side * 0.26, 1.35), (side * 0.38, 1.14), (side * 0.32, 1.04))
        b.disc((0, 1.57), (0.14, 0.17), EXTRA, 10)
        if not away:
            b.face([(-0.11, 1.52), (-0.11, 1.63), (0.11, 1.63), (0.11, 1.52)], m.GLASS)
        b.label = m.MOTORCYCLE
    if away:
        b.face([(-0.1, 0.5), (-0.1, 0.64), (0.1, 0.64), (0.1, 0.5)], m.PLATE, material=m.RETRO)
    size = (0.09, 0.05) if away else (0.11, 0.1)
    b.disc((0, 0.78), size, m.RED if away else m.CHROME, 8, glow=m.TAIL if away else m.HEAD, material=m.RETRO)
    return b.build()
