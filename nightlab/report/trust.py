"""How far confidence can be trusted: reliability diagrams of both levels, and the temperatures that were fitted."""

from itertools import groupby
from typing import Any

from nightlab.report.reliability import Curve, diagram, expected_error
from nightlab.report.results import kind_in_words
from nightlab.report.run_files import LEVELS, Evaluation, RunFiles, number
from nightlab.report.text import percent, soft, table

FITTED = {"image_level": "image level", "region_level": "region level, in its regions"}
SAID = (
    "Pixels by the confidence of their class (the probability that the model gives it), against the share of them that "
    "is right. Below the diagonal the model is surer than it should be. The expected calibration error (ECE) is the "
    "distance from the diagonal, in the mean over pixels."
)


def trust(run: RunFiles) -> str:
    """A section; empty for a run whose evaluations have no counts of confidence and that fitted nothing."""
    chosen = [next(group) for _, group in groupby(run.evaluations, key=lambda e: e.dataset)]
    diagrams = [html for e in chosen if (html := _diagram(e))]
    fitted = _fitted(run)
    if not diagrams and not fitted:
        return ""
    shown = soft(SAID) + f'<div class="charts">{"".join(diagrams)}</div>' if diagrams else ""
    return f"<h2>How far its confidence can be trusted</h2>{shown}{fitted}"


def _diagram(e: Evaluation) -> str:
    curves = []
    for level in e.levels:
        points = e.reliability(level)
        name = f"{LEVELS[level]}, " if e.is_dual else ""
        curves.append(Curve(f"{name}ECE {expected_error(points):.2f} %", points))
    calibrated = ", calibrated" if e.document.get("calibrated") is True else ""
    title = f"{e.dataset}, {kind_in_words(e)}{calibrated}"
    return diagram(title, curves, across="confidence", up="share that is right")


def _fitted(run: RunFiles) -> str:
    """The temperatures of the first checkpoint, with ECE and NLL before and after; empty where none were fitted."""
    document = next((d for d in run.calibration.values() if isinstance(d, dict)), {})
    rows = [_row(name, document[level]) for level, name in FITTED.items() if isinstance(document.get(level), dict)]
    if not rows:
        return ""
    applied = (
        "were applied in this run (MODEL.NIGHTLAB.CALIBRATE)"
        if run.setting("MODEL.NIGHTLAB.CALIBRATE")
        else "are applied where MODEL.NIGHTLAB.CALIBRATE is True, which it was not in this run"
    )
    said = (
        f"Temperatures are fitted after training, on pixels of {document.get('images', '?')} held-out images. They are "
        f"part of the checkpoint, and {applied}. ECE and NLL below are those of the held-out pixels."
    )
    columns = ["", "temperature", "ECE, %", "with it", "NLL, nats", "with it"]
    return f"<h3>Temperature</h3>{soft(said)}{table(columns, rows)}"


def _row(name: str, fitted: dict[str, Any]) -> list[str]:
    temperature, before, after = (number(fitted.get(key)) for key in ("temperature", "NLL", "NLL_after"))
    return [
        name,
        "–" if temperature is None else f"{temperature:.3f}",
        percent(number(fitted.get("ECE"))),
        percent(number(fitted.get("ECE_after"))),
        "–" if before is None else f"{before:.4f}",
        "–" if after is None else f"{after:.4f}",
    ]
