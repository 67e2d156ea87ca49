"""What stands beside the road: lamp posts, traffic lights, signs, trees, bushes, fences and walls."""

from functools import cache
from typing import Any

import numpy as np

from . import mesh as m
from .mesh import Mesh, MeshBuilder, ellipse

TREE_SHAPES, SIGN_SHAPES = 8, 6


@cache
def lamp_post(height: float, reach: float) -> Mesh:
    """A street lamp whose arm reaches ``reach`` metres along x (either sign); 0 is a park lamp with a globe."""
    b = MeshBuilder(m.POLE, two_sided=True)
    b.limb((0, 0), (0, 0.9), 0.24, 0.2, 0)
    b.limb((0, 0.9), (0, height - 0.3), 0.16, 0.11, 0)
    if reach == 0:
        b.disc((0, height), (0.24, 0.27), m.WHITE, 10, glow=m.STREET)
        return b.build()
    b.limb((0, height - 0.35), (reach * 0.35, height), 0.1, 0.09, 0)
    b.limb((reach * 0.35, height), (reach, height + 0.05), 0.09, 0.08, 0)
    x0, x1 = sorted((reach - 0.1 * np.sign(reach), reach + 0.6 * np.sign(reach)))
    b.face([(x0, height), (x0, height + 0.16), (x1, height + 0.16), (x1, height)], m.STEEL)
    b.face([(x0, height - 0.09), (x0, height + 0.02), (x1, height + 0.02), (x1, height - 0.09)], m.WHITE, glow=m.STREET)
    return b.build()


def _signal(b: MeshBuilder, x: float, y: float, away: bool, small: bool = False) -> None:
    """A signal head whose lowest edge is at ``y``."""
    b.label = m.LIGHT
    h, w, lamps = (0.66, 0.15, 2) if small else (0.98, 0.19, 3)
    b.face([(x - w, y), (x - w, y + h), (x + w, y + h), (x + w, y)], m.PLASTIC)
    if away:
        return
    glows = (m.LAMP_GREEN, m.LAMP_RED) if small else (m.LAMP_GREEN, m.LAMP_AMBER, m.LAMP_RED)
    for i in range(lamps):
        b.disc((x, y + h * (i + 0.5) / lamps), 0.115 if not small else 0.11, m.GLASS, 10, glow=glows[i])


@cache
def traffic_light(arm: float, away: bool, small: bool = False) -> Mesh:
    """Signals on a post; an ``arm`` of so many metres hangs a second one over the road. ``small``: for walkers."""
    b = MeshBuilder(m.POLE, two_sided=True)
    top = 2.6 if small else 3.5 if arm == 0 else 6.3
    b.limb((0, 0), (0, top), 0.17 if arm else 0.13, 0.12, 0)
    if arm:
        b.limb((0, 6.1), (arm, 6.25), 0.14, 0.1, 0)
        _signal(b, arm * 0.97, 5.4, away)
    _signal(b, 0.0 if not arm else np.sign(arm) * 0.28, 1.95 if small else 2.45, away, small)
    return b.build()


@cache
def sign(shape: int, height: float) -> Mesh:
    """A traffic sign on a post: no entry, speed limit, warning, parking, give way, street name board."""
    b = MeshBuilder(m.POLE, two_sided=True)
    b.limb((0, 0), (0, height + 0.3), 0.08, 0.07, m.STEEL)
    retro: dict[str, Any] = {"material": m.RETRO}
    b.label, y = m.SIGN, height
    if shape == 0:
        b.disc((0, y), 0.34, m.RED, 16, **retro)
        b.face([(-0.23, y - 0.06), (-0.23, y + 0.06), (0.23, y + 0.06), (0.23, y - 0.06)], m.WHITE, **retro)
    elif shape == 1:
        b.disc((0, y), 0.35, m.RED, 16, **retro)
        b.disc((0, y), 0.27, m.WHITE, 16, **retro)
        for x in (-0.1, 0.1):
            b.ring((x, y), 0.09, 0.04, m.PLASTIC, 8)
    elif shape == 2:
        b.face([(-0.42, y - 0.3), (0, y + 0.42), (0.42, y - 0.3)], m.RED, **retro)
        b.face([(-0.27, y - 0.21), (0, y + 0.25), (0.27, y - 0.21)], m.WHITE, **retro)
    elif shape == 3:
        b.face([(-0.33, y - 0.33), (-0.33, y + 0.33), (0.33, y + 0.33), (0.33, y - 0.33)], m.BLUE, **retro)
        b.limb((-0.1, y - 0.2), (-0.1, y + 0.2), 0.08, 0.08, m.WHITE, **retro)
        b.ring((0.0, y + 0.09), 0.14, 0.06, m.WHITE, 10, **retro)
    elif shape == 4:
        b.face([(-0.42, y + 0.3), (0.42, y + 0.3), (0, y - 0.42)], m.RED, **retro)
        b.face([(-0.26, y + 0.21), (0.26, y + 0.21), (0, y - 0.24)], m.WHITE, **retro)
    else:
        b.face([(-0.75, y - 0.28), (-0.75, y + 0.32), (0.75, y + 0.32), (0.75, y - 0.28)], m.BLUE, **retro)
        for dy, half in ((0.16, 0.55), (-0.1, 0.4)):
            b.face(
                [(-half, y + dy - 0.06), (-half, y + dy + 0.05), (half, y + dy + 0.05), (half, y + dy - 0.06)],
                m.WHITE,
                **retro,
            )
    return b.build()


@cache
def gantry(width: float) -> Mesh:
    """A direction board on an arm of ``width`` metres over the road, the post at x = 0."""
    b = MeshBuilder(m.POLE, two_sided=True)
    b.limb((0, 0), (0, 6.4), 0.28, 0.22, m.STEEL)
    b.limb((0, 6.0), (width, 6.1), 0.2, 0.16, m.STEEL)
    b.label, x = m.SIGN, 0.62 * width
    b.face([(x - 1.6, 4.9), (x - 1.6, 6.7), (x + 1.6, 6.7), (x + 1.6, 4.9)], 0, material=m.RETRO)
    for dy, x0, x1 in ((0.5, -1.2, 0.5), (0.0, -1.2, 1.1), (-0.5, -1.2, 0.1)):
        b.face(
            [(x + x0, 5.72 + dy), (x + x0, 5.95 + dy), (x + x1, 5.95 + dy), (x + x1, 5.72 + dy)],
            m.WHITE,
            material=m.RETRO,
        )
    return b.build()


def _leaves(
    b: MeshBuilder, rng: np.random.Generator, center: tuple, radius: tuple, shade: float, ragged: float, n: int = 30
) -> None:
    outline = ellipse((0, 0), 1.0, n) * (1 + ragged * rng.uniform(-1, 1, (n, 1)))
    b.face(outline * radius + np.asarray(center), 0, material=m.FOLIAGE, shade=shade, fuzzy=True)


@cache
def tree(shape: int) -> Mesh:
    """A tree of height 1; shapes 0 to 5 broad, 6 and 7 slim. Trunk and crown are vegetation, as in Cityscapes."""
    rng = np.random.default_rng(7100 + shape)
    b = MeshBuilder(m.VEGETATION, two_sided=True)
    slim = shape >= 6
    clear = 0.12 if slim else rng.uniform(0.24, 0.4)
    b.limb((0, 0), (rng.uniform(-0.02, 0.02), clear + 0.2), 0.05, 0.035, m.BARK, material=m.FOLIAGE)
    wide = 0.15 if slim else rng.uniform(0.27, 0.37)
    middle = 0.5 * (1 + clear)
    for side in (-1, 1):
        b.limb((0, clear), (side * wide * 0.5, middle), 0.03, 0.012, m.BARK)
    _leaves(b, rng, (0, middle), (wide * 0.85, 0.44 * (1 - clear)), 0.55, 0.13, 44)
    for i in range(13):
        t = i / 12
        y = clear + 0.06 + (1 - clear - 0.16) * t
        spread = wide * np.sin(np.pi * (0.25 + 0.6 * t)) if not slim else wide * (1.0 - 0.75 * t)
        x = spread * rng.uniform(-0.85, 0.85)
        r = (wide * rng.uniform(0.3, 0.5), wide * rng.uniform(0.22, 0.36))
        _leaves(b, rng, (x, min(y, 1 - r[1])), r, 0.65 + 0.5 * t * rng.uniform(0.5, 1.0), 0.17)
    return b.build()


@cache
def bush(shape: int) -> Mesh:
    """A bush of height and half width about 1."""
    rng = np.random.default_rng(7200 + shape)
    b = MeshBuilder(m.VEGETATION, two_sided=True)
    b.face(
        [(-1, -0.02), (-0.95, 0.5), (-0.4, 0.78), (0.3, 0.82), (0.9, 0.55), (1, -0.02)],
        0,
        material=m.FOLIAGE,
        shade=0.6,
        fuzzy=True,
    )
    for _ in range(7):
        center = (rng.uniform(-0.75, 0.75), rng.uniform(0.25, 0.7))
        _leaves(b, rng, center, (rng.uniform(0.22, 0.45), rng.uniform(0.18, 0.3)), rng.uniform(0.6, 1.15), 0.18, 22)
    return b.build()


@cache
def panel(label: int, material: int, height: float, length: float) -> Mesh:
    """One bay of a fence, wall or hedge along z at x = 0, with a post for a fence and a coping for a wall."""
    b = MeshBuilder(label, two_sided=True)
    ends = [(0, 0, 0), (0, height, 0), (0, height, length), (0, 0, length)]
    b.face(ends, 0, material=material, fuzzy=material == m.FOLIAGE)
    if material in m.SEE_THROUGH:
        for y in (0.12, height - 0.06):
            b.face([(0, y, 0), (0, y + 0.06, 0), (0, y + 0.06, length), (0, y, length)], 0)
        b.face([(-0.04, 0, 0), (-0.04, height + 0.05, 0), (0.04, height + 0.05, 0), (0.04, 0, 0)], 0, shade=0.8)
    elif label == m.WALL:
        b.face([(0, height - 0.12, 0), (0, height, 0), (0, height, length), (0, height - 0.12, length)], 1)
        b.face([(-0.15, 0, 0), (-0.15, height, 0), (0.15, height, 0), (0.15, 0, 0)], 0, material=material)
    return b.build()
