"""The demo's loop: every frame through the model into the sink; what cannot be read or seen is left out and counted."""

import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from tqdm import tqdm

from nightlab.demo.panels import draw_panels
from nightlab.demo.sinks import Sink
from nightlab.demo.sources import Source
from nightlab.predictor import Predictor

# As tqdm's own, but always frames a second, also where one frame takes longer.
BAR = "{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


def show(
    source: Source,
    predictor: Predictor,
    panels: Sequence[str],
    sink: Sink,
    *,
    every_class: bool = False,
    report: Callable[[str], None] | None = None,
) -> int:
    """Shows all frames and returns how many could not be shown; `report` (stderr) is told the reason of each."""
    report = report or partial(tqdm.write, file=sys.stderr)
    skipped = 0
    with tqdm(total=source.total, unit="frame", bar_format=BAR) as bar:
        for frame in source:
            reason = frame.reason
            if frame.image is not None:
                try:
                    picture = _picture(frame.image, predictor, panels, every_class)
                except RuntimeError as error:  # torch's for a frame that is too large or too small for the model
                    reason = f"{frame.name}: {str(error).strip().splitlines()[0]}"
                else:
                    if not sink.show(frame.name, picture):
                        break
            if reason:
                skipped += 1
                report(f"left out: {reason}")
            bar.update()
    return skipped


def _picture(image: np.ndarray, predictor: Predictor, panels: Sequence[str], every_class: bool) -> np.ndarray:
    return draw_panels(
        predictor(image, uncertainty="uncertainty" in panels),
        panels,
        predictor.classes,
        predictor.colors,
        adapted=predictor.adapted,
        every_class=every_class,
    )
