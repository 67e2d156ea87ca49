"""Line charts, bars and heat maps as inline SVG and HTML: they take the page's colours, light or dark, and its width.

Drawn here and not by matplotlib, whose SVG brings its own colours and ten times the bytes. All text is escaped here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from nightlab.report.text import signed

WIDTH, HEIGHT = 480, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 26, 12, 40
MOST_POINTS = 600
MOST_DOTS = 20


@dataclass(frozen=True)
class Series:
    """A named curve; `x` ascending, all values finite."""

    name: str
    x: Sequence[float]
    y: Sequence[float]


def line_chart(title: str, series: Sequence[Series], *, mark: tuple[float, str] | None = None) -> str:
    """A figure of curves over iterations, from zero up; `mark` is an iteration to point at and what it is."""
    series = [_thinned(s) for s in series if len(s.x)]
    if not series:
        return ""
    x_ticks = nice_ticks(max(max(s.x) for s in series), 5)
    y_ticks = nice_ticks(max(max(s.y) for s in series), 5)

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = x / x_ticks[-1], max(y, 0.0) / y_ticks[-1]
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [_axes(x_ticks, y_ticks, place)]
    if mark:
        x, top = place(mark[0], y_ticks[-1])
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        anchor, shift = ("end", -5) if x > WIDTH / 2 else ("start", 5)
        y = HEIGHT - BOTTOM - 8
        parts.append(f'<text class="note" x="{x + shift:.1f}" y="{y}" text-anchor="{anchor}">{escape(mark[1])}</text>')
    for i, s in enumerate(series):
        points = [place(x, y) for x, y in zip(s.x, s.y, strict=True)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line c{i}" points="{path}"/>')
        if len(points) <= MOST_DOTS:
            parts += [_dot(s, j, i, *point) for j, point in enumerate(points)]
    keys = "".join(f'<span class="key"><i class="c{i}"></i>{escape(s.name)}</span>' for i, s in enumerate(series))
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b>{keys if len(series) > 1 else ""}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg></figure>'
    )


def nice_ticks(largest: float, number: int) -> list[float]:
    """About `number` round steps from 0 to at least `largest`: multiples of 1, 2 or 5 times a power of ten."""
    if largest <= 0:
        return [0.0, 1.0]
    raw = largest / number
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return [i * step for i in range(math.ceil(largest / step - 1e-9) + 1)]


def bars(rows: Sequence[tuple[str, float, bool]]) -> str:
    """Horizontal bars of percentages: name, value, and whether to mark it as hard."""
    lines = []
    for name, value, hard in rows:
        tag = ' <span class="tag">hard</span>' if hard else ""
        lines.append(
            f'<tr{" class=hard" if hard else ""}><th scope="row">{escape(name)}{tag}</th><td class="track">'
            f'<span style="width:{min(max(value, 0), 100):.2f}%"></span></td><td>{value:.1f}</td></tr>'
        )
    return f'<table class="bars">{"".join(lines)}</table>'


def paired_bars(rows: Sequence[tuple[str, float, float, bool]]) -> str:
    """Horizontal bars of two percentages each: name, before (image level), after (merged), and whether it is hard.

    Both values and their difference, with its sign, stand beside them.
    """
    lines = []
    for name, before, after, hard in rows:
        tag = ' <span class="tag">hard</span>' if hard else ""
        change = after - before
        kind = "same" if abs(change) < 0.05 else "up" if change > 0 else "down"
        lines.append(
            f'<tr{" class=hard" if hard else ""}><th scope="row">{escape(name)}{tag}</th><td class="track">'
            + "".join(
                f'<span class="{which}" style="width:{min(max(value, 0), 100):.2f}%"></span>'
                for which, value in (("before", before), ("after", after))
            )
            + f'</td><td class="both"><span>{before:.1f}</span><span>{after:.1f}</span></td>'
            f'<td class="change {kind}">{signed(change, 1)}</td></tr>'
        )
    keys = (("before", "image level"), ("after", "merged"), ("after hard", "merged, hard class"))
    legend = "".join(f'<span class="key"><i class="block {which}"></i>{text}</span>' for which, text in keys)
    return f'<p class="keys">{legend}</p><table class="bars paired">{"".join(lines)}</table>'


def heat_map(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A confusion matrix, each row (true class) in percent of its pixels.

    Classes that are neither true nor predicted anywhere are left out; rows of classes that are never true are dashed.
    """
    used = [k for k in range(len(names)) if any(counts[k]) or any(row[k] for row in counts)]
    names, counts = [names[k] for k in used], [[counts[k][other] for other in used] for k in used]
    head = "".join(f'<th scope="col"><span>{escape(name)}</span></th>' for name in names)
    lines = []
    for name, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = []
        for other, count in zip(names, row, strict=True):
            if not total:
                cells.append("<td>–</td>")
                continue
            share = count / total
            said = f"{name} taken for {other}: {100 * share:.1f} % ({count:,} pixels)"
            text = f"{100 * share:.0f}" if share >= 0.005 else ""
            strong = " class=strong" if share >= 0.5 else ""
            cells.append(f'<td{strong} style="--v:{share:.3f}" title="{escape(said)}">{text}</td>')
        lines.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    return f'<table class="heat"><thead><tr><th></th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _axes(
    x_ticks: Sequence[float], y_ticks: Sequence[float], place: Callable[[float, float], tuple[float, float]]
) -> str:
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for value in y_ticks:
        y = place(0, value)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>')
    for value in x_ticks:
        parts.append(f'<text x="{place(value, 0)[0]:.1f}" y="{base + 17}" text-anchor="middle">{value:,.0f}</text>')
    parts.append(f'<text class="note" x="{right}" y="{HEIGHT - 5}" text-anchor="end">iteration</text>')
    return "".join(parts)


def _dot(series: Series, place: int, color: int, x: float, y: float) -> str:
    said = f"{series.name}, iteration {series.x[place]:,.0f}: {series.y[place]:.4g}"
    return f'<circle class="dot c{color}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{escape(said)}</title></circle>'


def _thinned(series: Series) -> Series:
    """Every n-th point, so that long runs do not make a heavy page; the last one stays."""
    step = -(-len(series.x) // MOST_POINTS)
    if step == 1:
        return series
    kept = [*range(0, len(series.x) - 1, step), len(series.x) - 1]
    return Series(series.name, [series.x[i] for i in kept], [series.y[i] for i in kept])
