"""Vehicles on four wheels or rails: cars, vans, trucks, buses and trams as meshes, the front at +z."""

from functools import cache
from typing import Any

from . import mesh as m
from .mesh import Mesh, MeshBuilder, ellipse


def _wheels(b: MeshBuilder, half: float, axles: tuple[float, ...], radius: float) -> None:
    for z in axles:
        rim, tyre = ellipse((z, radius), 0.5 * radius, 10), ellipse((z, radius), radius, 12)
        for side in (-1.0, 1.0):
            # On the right side z runs to the right as seen from outside, on the left side to the left.
            turn = slice(None) if side > 0 else slice(None, None, -1)
            b.face([(side * (half + 0.01), y, zz) for zz, y in tyre[turn]], m.TYRE)
            b.face([(side * (half + 0.02), y, zz) for zz, y in rim[turn]], m.STEEL)


def _back(b: MeshBuilder, x: tuple, y: tuple, z: float, slot: int, **kwargs: Any) -> None:
    b.wall((x[0], z), (x[1], z), y[0], y[1], slot, **kwargs)


def _front(b: MeshBuilder, x: tuple, y: tuple, z: float, slot: int, **kwargs: Any) -> None:
    b.wall((x[1], z), (x[0], z), y[0], y[1], slot, **kwargs)


def _side(b: MeshBuilder, half: float, points: list, slot: int, inset: float = 0.0, **kwargs: Any) -> None:
    """Both sides of a body: ``points`` are (z, y, half width less ``half``), clockwise as seen from the right."""
    b.face([(half + dx, y, z) for z, y, dx in points], slot, **kwargs)
    b.face([(-half - dx, y, z) for z, y, dx in reversed(points)], slot, **kwargs)


def _lights(b: MeshBuilder, half: float, rear: float, front: float, height: float, size: float) -> None:
    """Tail lights, plate, head lights and grille."""
    e, w = 0.015, 0.26 * half + size * 0.3
    _back(b, (-0.27, 0.27), (height - 0.26, height - 0.13), rear - e, m.PLATE, material=m.RETRO)
    _front(b, (-0.55 * half, 0.55 * half), (height - 0.3, height - 0.06), front + e, m.PLASTIC)
    _front(b, (-0.26, 0.26), (height - 0.34, height - 0.24), front + 2 * e, m.PLATE, material=m.RETRO)
    for side in (-1, 1):
        outer, inner = side * half * 0.97, side * (half * 0.97 - w)
        x = (min(outer, inner), max(outer, inner))
        _back(b, x, (height - 0.02, height + size), rear - e, m.RED, glow=m.TAIL, material=m.RETRO)
        _back(b, x, (height + size * 0.35, height + size), rear - 2 * e, m.RED, glow=m.BRAKE)
        _front(b, x, (height - 0.08, height + size * 0.6), front + e, m.CHROME, glow=m.HEAD)


@cache
def car(kind: int) -> Mesh:
    """A passenger car; ``kind`` 0 saloon, 1 hatchback, 2 off-roader, 3 van."""
    length, width, height, belt, hood, trunk, rake = [
        (4.6, 1.80, 1.45, 0.92, 1.25, 0.75, 0.65),
        (4.0, 1.74, 1.50, 0.95, 0.95, 0.05, 0.55),
        (4.6, 1.90, 1.75, 1.08, 1.10, 0.02, 0.45),
        (5.2, 2.00, 2.15, 1.20, 0.75, 0.0, 0.45),
    ][kind]
    b, half, low = MeshBuilder(m.CAR), 0.5 * width, 0.27
    z0, z1 = -0.5 * length, 0.5 * length
    nose, tail = belt - 0.16, belt - 0.03
    roof = -0.14 * width
    zr0, zr1 = z0 + max(trunk, 0.02), z0 + trunk + (0.55 if kind == 0 else 0.22)
    zw0, zw1 = z1 - hood, z1 - hood - rake
    _back(b, (-half, half), (low, tail), z0, 0, material=m.GLOSS)
    _back(b, (-half, half), (low, low + 0.2), z0 - 0.01, m.PLASTIC)
    _front(b, (-half, half), (low, nose), z1, 0, material=m.GLOSS)
    _front(b, (-half, half), (low, low + 0.16), z1 + 0.01, m.PLASTIC)
    _side(b, half, [(z0, low, 0), (z0, tail, 0), (zr0, belt, 0), (zw0, belt, 0), (z1, nose, 0), (z1, low, 0)], 0)
    for z in (z0 + 0.36 * length, z0 + 0.6 * length):
        _side(
            b,
            half + 0.004,
            [(z, low + 0.12, 0), (z, belt - 0.04, 0), (z + 0.03, belt - 0.04, 0), (z + 0.03, low + 0.12, 0)],
            m.PLASTIC,
        )
    _side(b, half + 0.005, [(z0, low, 0), (z0, low + 0.1, 0), (z1, low + 0.1, 0), (z1, low, 0)], m.PLASTIC)
    hood_top = [(-half, belt, zw0), (-half, nose, z1), (half, nose, z1), (half, belt, zw0)]
    b.face(hood_top, 0, material=m.GLOSS)
    b.face([(-half, tail, z0), (-half, belt, zr0), (half, belt, zr0), (half, tail, z0)], 0, material=m.GLOSS)
    _wheels(b, half, (z0 + 0.78, z1 - 0.82), 0.32 if kind < 2 else 0.36)
    top = half + roof
    b.face([(-top, height, zw1), (top, height, zw1), (top, height, zr1), (-top, height, zr1)], 0, material=m.GLOSS)
    _side(b, half, [(zr0, belt, 0), (zr1, height, roof), (zw1, height, roof), (zw0, belt, 0)], 0)
    b.face([(-half, belt, zr0), (-top, height, zr1), (top, height, zr1), (half, belt, zr0)], 0, material=m.GLOSS)
    b.face([(half, belt, zw0), (top, height, zw1), (-top, height, zw1), (-half, belt, zw0)], 0, material=m.GLOSS)
    g = height - belt
    y0, y1 = belt + 0.06 * g, height - 0.14 * g
    r0, r1 = roof * (y0 - belt) / g, roof * (y1 - belt) / g
    za, zb = zr0 + (zr1 - zr0) * (y0 - belt) / g, zr0 + (zr1 - zr0) * (y1 - belt) / g
    zc, zd = zw0 + (zw1 - zw0) * (y0 - belt) / g, zw0 + (zw1 - zw0) * (y1 - belt) / g
    glass: dict[str, Any] = {"glow": m.INTERIOR, "material": m.GLOSS}
    b.face(
        [(-half * 0.9, y0, za - 0.01), (-top * 0.9, y1, zb), (top * 0.9, y1, zb), (half * 0.9, y0, za - 0.01)],
        m.GLASS,
        **glass,
    )
    b.face(
        [(half * 0.93, y0, zc + 0.01), (top * 0.93, y1, zd), (-top * 0.93, y1, zd), (-half * 0.93, y0, zc + 0.01)],
        m.GLASS,
        **glass,
    )
    mid = 0.5 * (za + zc)
    panes = [(za + 0.12, zb + 0.12, mid - 0.05, mid - 0.05), (mid + 0.05, mid + 0.05, zc - 0.14, zd - 0.14)]
    for p0, p1, p2, p3 in panes[1:] if kind == 3 else panes:
        _side(b, half + 0.01, [(p0, y0, r0), (p1, y1, r1), (p3, y1, r1), (p2, y0, r0)], m.GLASS, **glass)
    _lights(b, half, z0, z1, 0.7 * belt, 0.15 if kind < 2 else 0.24)
    return b.build()


@cache
def truck(kind: int) -> Mesh:
    """A lorry; ``kind`` 0 box body, 1 long box, 2 flatbed with canvas. The body is slot 0, the cab slot 1."""
    length, width, height = [(6.8, 2.3, 3.1), (10.5, 2.5, 3.8), (7.6, 2.4, 3.2)][kind]
    b, half = MeshBuilder(m.TRUCK), 0.5 * width
    z0, z1 = -0.5 * length, 0.5 * length
    cab, cab_top, bed = z1 - 1.9, min(height - 0.4, 2.7), 0.95
    b.box((-half + 0.1, half - 0.1), (0.5, bed), (z0 + 0.05, cab), m.PLASTIC, top=False)
    b.box((-half, half), (bed, height), (z0, cab), 0)
    if kind != 2:
        for x in (-half + 0.06, 0.0, half - 0.06):
            _back(b, (x - 0.04, x + 0.04), (bed + 0.05, height - 0.05), z0 - 0.01, m.STEEL)
        stripe = [(z0 + 0.6, 1.9, 0), (z0 + 0.6, 2.5, 0), (cab - 0.8, 2.5, 0), (cab - 0.8, 1.9, 0)]
        _side(b, half + 0.01, stripe, 2)
        _back(b, (-0.7 * half, 0.7 * half), (1.9, 2.5), z0 - 0.005, 2)
    # The cab after the body, and without its own back: so each hides the other rightly from either end.
    shell = [(cab + 0.05, 0.4, 0), (cab + 0.05, cab_top, 0), (z1, cab_top, 0), (z1, 0.4, 0)]
    _side(b, half * 0.96, shell, 1, material=m.GLOSS)
    _front(b, (-half * 0.96, half * 0.96), (0.4, cab_top), z1, 1, material=m.GLOSS)
    _front(
        b,
        (-half * 0.88, half * 0.88),
        (0.58 * cab_top, 0.9 * cab_top),
        z1 + 0.01,
        m.GLASS,
        glow=m.INTERIOR,
        material=m.GLOSS,
    )
    pane = [
        (cab + 0.6, 0.6 * cab_top, 0),
        (cab + 0.6, 0.88 * cab_top, 0),
        (z1 - 0.3, 0.88 * cab_top, 0),
        (z1 - 0.1, 0.6 * cab_top, 0),
    ]
    _side(b, half * 0.97, pane, m.GLASS, material=m.GLOSS)
    _back(b, (-half, half), (0.6, 0.68), z0 - 0.01, m.YELLOW, material=m.RETRO)
    axles = (z0 + 1.0, z1 - 1.0) if kind != 1 else (z0 + 1.0, z0 + 2.1, z1 - 1.0)
    _wheels(b, half * 0.97, axles, 0.48)
    _lights(b, half * 0.97, z0 - 0.01, z1, 0.88, 0.16)
    return b.build()


def _coach(label: int, length: float, width: float, height: float, floor: float, pitch: float) -> MeshBuilder:
    """The body that buses and trams share: cut into bays so that light can change along it."""
    b, half = MeshBuilder(label), 0.5 * width
    z0, z1 = -0.5 * length, 0.5 * length
    band = (0.42 * height, 0.83 * height)
    b.box((-half, half), (floor, height), (z0, z1), 0, material=m.GLOSS)
    bays = max(2, round(length / pitch))
    for i in range(bays):
        a, c = z0 + length * i / bays, z0 + length * (i + 1) / bays
        _side(b, half + 0.005, [(a, floor, 0), (a, height, 0), (c, height, 0), (c, floor, 0)], 0)
        _side(b, half + 0.01, [(a, floor, 0), (a, floor + 0.35, 0), (c, floor + 0.35, 0), (c, floor, 0)], 1)
        low = floor + 0.15 if i % 4 == 2 else band[0]
        pane = [(a + 0.09, low, 0), (a + 0.09, band[1], 0), (c - 0.09, band[1], 0), (c - 0.09, low, 0)]
        _side(b, half + 0.015, pane, m.GLASS, glow=m.INTERIOR, material=m.GLOSS, shade=1.0 + 0.4 * ((7 * i) % 3))
    _back(b, (-half, half), (floor, floor + 0.4), z0 - 0.01, 1)
    _front(b, (-half, half), (floor, floor + 0.4), z1 + 0.01, 1)
    _back(
        b,
        (-half * 0.85, half * 0.85),
        (0.5 * height, 0.84 * height),
        z0 - 0.01,
        m.GLASS,
        glow=m.INTERIOR,
        material=m.GLOSS,
    )
    _front(
        b,
        (-half * 0.93, half * 0.93),
        (0.38 * height, 0.83 * height),
        z1 + 0.01,
        m.GLASS,
        glow=m.INTERIOR,
        material=m.GLOSS,
        shade=0.22,
    )
    _front(b, (-half * 0.7, half * 0.7), (0.87 * height, 0.97 * height), z1 + 0.02, m.PLASTIC, glow=m.DISPLAY)
    _back(b, (-half * 0.4, half * 0.4), (0.88 * height, 0.97 * height), z0 - 0.02, m.PLASTIC, glow=m.DISPLAY)
    return b


@cache
def bus() -> Mesh:
    """A city bus of 11.5 m."""
    b = _coach(m.BUS, 11.5, 2.5, 3.05, 0.32, 1.45)
    _wheels(b, 1.25, (-2.9, 3.2), 0.48)
    _lights(b, 1.25, -5.77, 5.77, 0.9, 0.22)
    return b.build()


@cache
def tram() -> Mesh:
    """A tram of 24 m, its wheels behind skirts."""
    b = _coach(m.TRAIN, 24.0, 2.4, 3.35, 0.3, 1.7)
    b.box((-0.5, 0.5), (3.35, 3.6), (-4.0, -1.0), m.STEEL)
    _lights(b, 1.2, -12.02, 12.02, 0.95, 0.16)
    return b.build()
