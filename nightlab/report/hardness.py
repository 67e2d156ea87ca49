"""What the detector knows: its score against the true gain of its regions, on fitted and on unfitted images."""

from html import escape
from typing import Any

import numpy as np

from nightlab.report.reliability import Curve, Point, diagram, expected_error
from nightlab.report.run_files import RunFiles, number
from nightlab.report.text import soft, table

# Where the images come from, in the order shown.
KINDS = {
    "unfitted": "held out from everything",
    "learned": "held out from both levels, HDM learned gain on them",
    "fitted": "both levels were fitted to them",
}
FIFTHS = 5


def hardness(run: RunFiles) -> str:
    """A section; empty for a run that checked no detector."""
    checks = {kind: run.hardness[kind] for kind in KINDS if isinstance(run.hardness.get(kind), dict)}
    if not checks:
        return ""
    said = (
        "A region gains where merging it raises the mIoU inside. AUC is how often the detector scores a region that "
        "gains above one that does not; 0.5 is a guess. Only images held out from everything tell without bias."
    )
    rows = [_row(KINDS[kind], check) for kind, check in checks.items()]
    head = ["images", "number", "regions each", "regions that gain, %", "AUC of the score"]
    kind, first = next(iter(checks.items()))
    fifths = reliability(first)
    parts = ["<h2>What the detector knows of gain</h2>", soft(said), table(head, rows), _sizes(checks)]
    if fifths:
        columns = ["regions by score", "mean score", "that gain, %", "mean gain, points"]
        parts.append(soft(f"By the score, on images {KINDS[kind]}:"))
        parts.append(table(columns, fifths))
    if "calibrated" in first:
        parts.append(_diagram(first))
    return "".join(parts)


def _row(name: str, check: dict[str, Any]) -> list[str]:
    each = [n for n in check.get("regions_per_image", []) if isinstance(n, int)]
    share, auc = number(check.get("share_with_gain")), number(check.get("auc"))
    return [
        escape(name),
        str(check.get("images", "?")),
        f"{sum(each) / len(each):.1f}" if each else "–",
        "–" if share is None else f"{100 * share:.0f}",
        "–" if auc is None else f"{auc:.2f}",
    ]


def _sizes(checks: dict[str, dict[str, Any]]) -> str:
    """Quantiles of the regions' longer sides and, where the detector tells classes, how many there are of each."""
    rows, said = [], []
    for kind, check in checks.items():
        given = check.get("longer_sides")
        sides = [side for each in given if (side := number(each)) is not None] if isinstance(given, list) else []
        if sides:
            quantiles = np.percentile(sides, [0, 25, 50, 75, 100])
            rows.append([KINDS[kind], str(len(sides)), *(f"{value:.0f}" for value in quantiles)])
        counts = check.get("classes")
        if isinstance(counts, dict) and counts:
            most = sorted(counts.items(), key=lambda item: -(number(item[1]) or 0))
            said.append(f"Classes, on images {KINDS[kind]}: {', '.join(f'{name} {count}' for name, count in most)}.")
    if not rows:
        return ""
    head = ["images", "regions", "least", "a quarter up to", "half up to", "three quarters up to", "most"]
    return (
        soft("The longer side of its regions, in pixels of the frame:") + table(head, rows) + "".join(map(soft, said))
    )


def _diagram(check: dict[str, Any]) -> str:
    """The score, and the probability that calibration makes of it, against the regions that gain, by fifths."""
    curves = []
    for name, key in (("score", "scores"), ("calibrated", "calibrated")):
        points = _points(check, key)
        curves.append(Curve(f"{name}, ECE {expected_error(points):.1f} %", points))
    drawn = diagram("Fifths of the regions", curves, across="score", up="share that gains")
    said = (
        "The score against the share of regions that gain. Calibrated: the regions of each image by a line through the "
        "log-odds that was fitted on the other images; the order of regions within an image stays. The checkpoint's "
        "own line is fitted on images of this kind, and counts where MODEL.NIGHTLAB.CALIBRATE is True."
    )
    return soft(said) + drawn if drawn else ""


def _points(check: dict[str, Any], key: str) -> list[Point]:
    """A point for each fifth by the values of `key`, the lowest first; none for fewer than three regions a fifth."""
    pairs = _pairs(check, key)
    if len(pairs) < 3 * FIFTHS:
        return []
    parts = [pairs[len(pairs) * i // FIFTHS : len(pairs) * (i + 1) // FIFTHS] for i in reversed(range(FIFTHS))]
    return [
        Point(sum(p for p, _ in part) / len(part), sum(g > 0 for _, g in part) / len(part), len(part) / len(pairs))
        for part in parts
    ]


def _pairs(check: dict[str, Any], key: str) -> list[tuple[float, float]]:
    """Values of `key` and gains of all regions, the highest first; none where the file has no list of either."""
    lists = [check.get(name) for name in (key, "gains")]
    if not all(isinstance(values, list) for values in lists):
        return []
    values, gains = ([number(v) for v in values or []] for values in lists)
    pairs = [(v, g) for v, g in zip(values, gains, strict=False) if v is not None and g is not None]
    return sorted(pairs, key=lambda pair: -pair[0])


def reliability(check: dict[str, Any]) -> list[list[str]]:
    """Rows of fifths of the regions by their score, the highest first; none for fewer than three regions a fifth."""
    pairs = _pairs(check, "scores")
    if len(pairs) < 3 * FIFTHS:
        return []
    rows = []
    for i in range(FIFTHS):
        part = pairs[len(pairs) * i // FIFTHS : len(pairs) * (i + 1) // FIFTHS]
        names = {0: "highest fifth", FIFTHS - 1: "lowest fifth"}
        mean_score, mean_gain = (sum(pair[j] for pair in part) / len(part) for j in (0, 1))
        share = sum(gain > 0 for _, gain in part) / len(part)
        rows.append([names.get(i, ""), f"{mean_score:.2f}", f"{100 * share:.0f}", f"{100 * mean_gain:+.2f}"])
    return rows
