"""What a frame costs, by component: a table of milliseconds."""

from nightlab.report.run_files import RunFiles, number
from nightlab.report.text import soft, table


def cost(run: RunFiles) -> str:
    """A section; empty for a run that timed nothing."""
    found = run.cost
    total, parts = number(found.get("median_s")), found.get("parts_median_s")
    if not total or not isinstance(parts, dict):
        return ""
    where = found.get("environment")
    where = where if isinstance(where, dict) else {}
    size = found.get("size")
    pixels = f" of {size[1]}x{size[0]}" if isinstance(size, list) and len(size) == 2 else ""
    labels = "the labels of both levels" if run.is_dual else "the labels"
    said = (
        f"Median time of {found.get('images', '?')} images{pixels} of {found.get('dataset', '?')}, one at a time, from "
        f"the image in memory to {labels}, on {where.get('device', '?')} with "
        f"{where.get('threads', '?')} threads ({found.get('precision', '?')}). Each figure is a median of its own."
    )
    seconds = {str(part): value for part, given in parts.items() if (value := number(given)) is not None}
    rows = [_row(part, value, total) for part, value in seconds.items()]
    return f"<h2>What a frame costs</h2>{soft(said)}{table(['', 'ms', '%'], [*rows, _row('together', total, total)])}"


def _row(part: str, seconds: float, total: float) -> list[str]:
    return [part, f"{1000 * seconds:.1f}", f"{100 * seconds / total:.0f}"]
