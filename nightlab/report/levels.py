"""The merged prediction beside the image level's: what merging changed, in words and as bars."""

from html import escape
from zipfile import BadZipFile

from nightlab.errors import InputError
from nightlab.evaluation.bootstrap import Interval, interval_of_mean, load_counts
from nightlab.report.charts import paired_bars
from nightlab.report.run_files import IMAGE_LEVEL, Evaluation
from nightlab.report.text import percent, signed, soft

RESAMPLES = 1000
# What read the labels of the very images: a bound of the method, and no result.
ORACLES = {"ground_truth": "boxes of the ground truth", "gain": "the true gain of each region"}


def comparison(e: Evaluation) -> str:
    """What merging changed on a data set: a paragraph, and a bar of each level for each class, highest first."""
    rows = [(name, e.figure(f"IoU-{name}", IMAGE_LEVEL), e.figure(f"IoU-{name}"), name in e.hard) for name in e.classes]
    known = [(name, before, after, hard) for name, before, after, hard in rows if None not in (before, after)]
    known.sort(key=lambda row: -(row[2] or 0))
    oracle = ORACLES.get(str(e.document.get("regions")))
    warning = f"<p><b>No result, but a bound:</b> the regions were chosen by {escape(oracle)}.</p>" if oracle else ""
    said = soft("The image level is the prediction of the whole image; merged, the region level's is pasted into it.")
    return f"{warning}{said}<p>{escape(_in_words(e))}</p>" + paired_bars(
        [(n, b or 0.0, a or 0.0, h) for n, b, a, h in known]
    )


def _in_words(e: Evaluation) -> str:
    """The means with the interval of their difference, hard and other classes, and those that changed most."""
    total = e.difference("mIoU")
    if total is None:
        return ""
    interval = _interval(e)
    within = f" (95 % interval over images: {signed(interval.low)} to {signed(interval.high)})" if interval else ""
    before, after = percent(e.figure("mIoU", IMAGE_LEVEL)), percent(e.figure("mIoU"))
    said = [f"Merging takes mIoU from {before} to {after} %: {_points(total)}{within}."]
    parts = {"hard": e.difference("mIoU-hard"), "other": e.difference("mIoU-easy")}
    known = [f"on the {k} classes {_points(v)}" for k, v in parts.items() if v is not None]
    said += [f"{'; '.join(known)}."] if known else []
    changes = {name: change for name in e.classes if (change := e.difference(f"IoU-{name}")) is not None}
    said += _extremes(changes)
    return " ".join(s[:1].upper() + s[1:] for s in said)


def _extremes(changes: dict[str, float]) -> list[str]:
    """A sentence on the classes whose IoU rises and falls; none where nothing changes."""
    parts: list[str] = []
    for verb, sign in (("rises", 1), ("falls", -1)):
        names = [name for name, change in changes.items() if sign * change > 0]
        if names:
            most = max(names, key=lambda name: sign * changes[name])
            count = f"{len(names)} of {len(changes)} classes" if not parts else str(len(names))
            parts.append(f"{verb} for {count}, most for {most} ({signed(changes[most])})")
    return [f"IoU {', and '.join(parts)}."] if parts else []


def _points(change: float) -> str:
    text = f"{abs(change):.2f}"
    if not float(text):
        return "no change"
    return f"a {'gain' if change > 0 else 'loss'} of {text} points"


def _interval(e: Evaluation) -> Interval | None:
    """Of the difference of both levels, from the counts of each image; None where they are missing or damaged."""
    try:
        (_, _, after), (_, _, before) = (load_counts(e.file, level) for level in ("sem_seg", IMAGE_LEVEL))
        return interval_of_mean([after], [before], resamples=RESAMPLES) if len(after) > 1 else None
    except (InputError, ValueError, BadZipFile):
        return None
