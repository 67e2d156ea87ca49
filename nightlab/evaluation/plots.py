"""What tables and plots over several runs share: how a spread is written, and how a figure becomes a file."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from nightlab.errors import InputError
from nightlab.files import named_if_unwritable, written_aside

FIGURE_ENDINGS = (".png", ".svg")


@contextmanager
def figure_file(output: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure of (width, height) in inches to draw on, written as .png or .svg at the end.

    Raises:
        InputError: `output` has another ending, or cannot be written.
    """
    kind = output.suffix.lower()
    if kind not in FIGURE_ENDINGS:
        raise InputError(f"{output}: figures are PNG or SVG; name a file that ends in {' or '.join(FIGURE_ENDINGS)}")
    with rc_context({"svg.hashsalt": "nightlab", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with named_if_unwritable(output, "name another file"):
            output.parent.mkdir(parents=True, exist_ok=True)
            with written_aside(output) as aside:
                # Without the date and ids drawn at random, the same figures are the same file.
                figure.savefig(aside, format=kind[1:], dpi=150, metadata={"Date": None} if kind == ".svg" else None)


def spread(values: Sequence[float | None]) -> str:
    """Mean and, of several, sample standard deviation; a dash where there is none."""
    known = [value for value in values if value is not None and np.isfinite(value)]
    if len(known) < 2:
        return f"{known[0]:.2f}" if known else "-"
    return f"{np.mean(known):.2f} ± {np.std(known, ddof=1):.2f}"
