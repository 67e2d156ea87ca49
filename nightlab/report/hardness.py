"""What the detector knows: its score against the true gain of its regions, on fitted and on unfitted images."""

from html import escape
from typing import Any

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
    parts = ["<h2>What the detector knows of gain</h2>", soft(said), table(head, rows)]
    if fifths:
        columns = ["regions by score", "mean score", "that gain, %", "mean gain, points"]
        parts.append(soft(f"By the score, on images {KINDS[kind]}:"))
        parts.append(table(columns, fifths))
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


def reliability(check: dict[str, Any]) -> list[list[str]]:
    """Rows of fifths of the regions by their score, the highest first; none for fewer than three regions a fifth."""
    scores, gains = ([number(v) for v in check.get(key, [])] for key in ("scores", "gains"))
    pairs = [(s, g) for s, g in zip(scores, gains, strict=False) if s is not None and g is not None]
    if len(pairs) < 3 * FIFTHS:
        return []
    pairs.sort(key=lambda pair: -pair[0])
    rows = []
    for i in range(FIFTHS):
        part = pairs[len(pairs) * i // FIFTHS : len(pairs) * (i + 1) // FIFTHS]
        names = {0: "highest fifth", FIFTHS - 1: "lowest fifth"}
        mean_score, mean_gain = (sum(pair[j] for pair in part) / len(part) for j in (0, 1))
        share = sum(gain > 0 for _, gain in part) / len(part)
        rows.append([names.get(i, ""), f"{mean_score:.2f}", f"{100 * share:.0f}", f"{100 * mean_gain:+.2f}"])
    return rows
