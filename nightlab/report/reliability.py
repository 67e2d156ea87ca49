"""Reliability diagrams as inline SVG: what is predicted across, how often it comes true up."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

SIZE = 300
LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 40
TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True)
class Point:
    """Of predictions that are alike: their mean, the share that comes true (both 0...1), and their share of all."""

    predicted: float
    true: float
    share: float


@dataclass(frozen=True)
class Curve:
    """A named row of points, `predicted` ascending."""

    name: str
    points: Sequence[Point]


def expected_error(points: Sequence[Point]) -> float:
    """Expected calibration error in percent: how far points are from the diagonal, in the mean over all."""
    return 100 * sum(point.share * abs(point.predicted - point.true) for point in points)


def diagram(title: str, curves: Sequence[Curve], *, across: str, up: str) -> str:
    """A figure of the curves that have points, and the diagonal on which predictions mean what they say.

    A dot is as large as its share of all, and says what it is where the pointer rests on it.
    """
    curves = [curve for curve in curves if curve.points]
    if not curves:
        return ""
    parts = [_axes(across, up)]
    for i, curve in enumerate(curves):
        places = [(*_place(p.predicted, p.true), p) for p in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        parts.append(f'<polyline class="line c{i}" points="{line}"/>')
        for x, y, p in places:
            said = f"{curve.name}: {p.predicted:.3f} predicted, {p.true:.3f} true, {100 * p.share:.1f} % of all"
            radius = 2 + 6 * min(p.share, 1.0) ** 0.5
            parts.append(
                f'<circle class="dot c{i}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{escape(said)}</title>'
                "</circle>"
            )
    keys = "".join(f'<span class="key"><i class="c{i}"></i>{escape(c.name)}</span>' for i, c in enumerate(curves))
    return (
        f'<figure class="chart square"><figcaption><b>{escape(title)}</b>{keys}</figcaption>'
        f'<svg viewBox="0 0 {SIZE} {SIZE}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def _axes(across: str, up: str) -> str:
    (left, base), (right, top) = _place(0, 0), _place(1, 1)
    parts = []
    for value in TICKS:
        x, y = _place(value, value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        parts.append(f'<text x="{x:.1f}" y="{base + 17}" text-anchor="middle">{value:g}</text>')
    parts.append(f'<line class="mark" x1="{left}" y1="{base}" x2="{right}" y2="{top}"/>')
    parts.append(f'<text class="note" x="{right}" y="{SIZE - 5}" text-anchor="end">{escape(across)}</text>')
    parts.append(f'<text class="note" x="{left + 6}" y="{top + 12}">{escape(up)}</text>')
    return "".join(parts)


def _place(predicted: float, true: float) -> tuple[float, float]:
    x, y = (min(max(value, 0.0), 1.0) for value in (predicted, true))
    return LEFT + x * (SIZE - LEFT - RIGHT), SIZE - BOTTOM - y * (SIZE - TOP - BOTTOM)
