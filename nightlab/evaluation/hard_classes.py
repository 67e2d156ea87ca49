"""Ranks classes by their IoU on held-out images, to tell the hard ones: from a run's files, and never on a test set."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tabulate import tabulate

from nightlab.data import catalog
from nightlab.errors import InputError
from nightlab.evaluation.metrics import is_hard
from nightlab.evaluation.plots import figure_file
from nightlab.report.reading import read_run
from nightlab.report.run_files import Evaluation, RunFiles, number

LEVELS = ("sem_seg_image_level", "sem_seg")  # hardness is the image level's, which is `sem_seg` where there is no other
PAPER_HARD_IOU = 0.5  # section 3.2
COLORS = {True: "#c2570c", False: "#2468c8"}  # hard, easy: those of the report


@dataclass(frozen=True)
class HeldOut:
    """IoU of each class on the held-out images of one run.

    Attributes:
        source: the file and the iteration; `data`: the images.
        iou: in percent; classes absent from the ground truth have none.
        hard_iou: the run's own threshold, 0 to 1; None where its configuration cannot be read.
        notes: what a reader of the figures should know, a sentence each.
    """

    source: str
    data: str
    iou: dict[str, float]
    absent: tuple[str, ...] = ()
    hard_iou: float | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankedClass:
    """A class with its IoU in each run (None where it is absent) and their mean, in percent."""

    name: str
    iou: tuple[float | None, ...]
    mean: float
    hard: bool


@dataclass(frozen=True)
class Ranking:
    """Classes of one or more runs, the hardest first; those absent from the ground truth apart: never hard."""

    runs: tuple[HeldOut, ...]
    hard_iou: float
    classes: tuple[RankedClass, ...]
    absent: tuple[str, ...]

    @property
    def title(self) -> str:
        number_of_hard = sum(c.hard for c in self.classes)
        said = f"{number_of_hard} of {len(self.classes)} classes are hard (IoU < {100 * self.hard_iou:g} %)"
        return f"{said} on {self.runs[0].data}" + (f", mean of {len(self.runs)} runs" if len(self.runs) > 1 else "")


def read_held_out(path: str | Path, checkpoint: str = "best") -> HeldOut:
    """Figures of a run's folder (or its metrics.json), or of a file `evaluation/<data set>/<kind>.json` in it.

    Of a run with stages, it is the image level's that count.

    Args:
        checkpoint: for a folder, the validation with the best mIoU (`best`) or the latest one (`last`).

    Raises:
        InputError: there is no run and no evaluation, nothing was held out, or the images are test images.
    """
    path = Path(path)
    if path.is_dir() or path.name == "metrics.json":
        return _from_history(path if path.is_dir() else path.parent, checkpoint)
    dataset, kind = path.resolve().parent, path.stem
    if not path.is_file() or dataset.parent.name != "evaluation":
        raise InputError(f"{path}: no run; give its OUTPUT_DIR, or OUTPUT_DIR/evaluation/<data set>/<kind>.json")
    run = read_run(dataset.parents[1])
    evaluation = next((e for e in run.evaluations if (e.dataset, e.kind) == (dataset.name, kind)), None)
    if evaluation is None:
        raise InputError(f"{path}: not an evaluation of NightLab's; train_net.py --eval-only writes one")
    return _from_evaluation(path, run, evaluation)


def rank(runs: Sequence[HeldOut], hard_iou: float | None = None) -> Ranking:
    """Classes by their mean IoU over runs (seeds of one variant), hardest first; default threshold: the runs' own.

    Raises:
        InputError: the runs held out different data, or their thresholds differ and none is given.
    """
    for run in runs[1:]:
        if run.data != runs[0].data:
            raise InputError(
                f"{run.source} is about {run.data}, {runs[0].source} about {runs[0].data}; rank like with like"
            )
    own = {PAPER_HARD_IOU if run.hard_iou is None else run.hard_iou for run in runs}
    if hard_iou is None and len(own) > 1:
        raise InputError(f"the runs have thresholds {', '.join(map(str, sorted(own)))}; give one with --hard-iou")
    threshold = own.pop() if hard_iou is None else hard_iou
    classes = []
    for name in dict.fromkeys(name for run in runs for name in run.iou):
        values = tuple(run.iou.get(name) for run in runs)
        mean = statistics.fmean(value for value in values if value is not None)
        classes.append(RankedClass(name, values, mean, bool(is_hard(np.array(mean), threshold))))
    known = {c.name for c in classes}
    absent = dict.fromkeys(name for run in runs for name in run.absent if name not in known)
    return Ranking(tuple(runs), threshold, tuple(sorted(classes, key=lambda c: (c.mean, c.name))), tuple(absent))


def ranking_table(ranking: Ranking) -> str:
    """The ranking as text: where it is from, a line for each class, absent classes, notes."""
    several = len(ranking.runs) > 1
    lines = [f"{f'run {i}: ' if several else ''}{run.source}" for i, run in enumerate(ranking.runs, 1)]
    rows = []
    for c in ranking.classes:
        by_run = ["-" if value is None else f"{value:.2f}" for value in c.iou] if several else []
        rows.append([f"{c.name} *" if c.hard else c.name, *by_run, f"{c.mean:.2f}"])
    headers = ["class (* hard)", *(f"run {i + 1}" for i in range(len(ranking.runs)) if several)]
    headers.append("mean IoU" if several else "IoU")
    lines += ["", ranking.title, tabulate(rows, headers, "simple", stralign="right", disable_numparse=True)]
    if ranking.absent:
        lines.append(f"absent from the ground truth, never hard: {', '.join(ranking.absent)}")
    return "\n".join([*lines, *dict.fromkeys(note for run in ranking.runs for note in run.notes)])


def draw_ranking(ranking: Ranking, output: Path) -> None:
    """Write the ranking as bars, the hardest on top, with the threshold as a line; dots are single runs.

    Raises:
        InputError: `output` ends in neither .png nor .svg, or cannot be written.
    """
    places = range(len(ranking.classes))
    with figure_file(output, (8, 1.2 + 0.27 * len(places))) as figure:
        axes = figure.add_subplot(xlim=(0, 100), xlabel="IoU, %")
        axes.margins(y=0.02)
        colors = [COLORS[c.hard] for c in ranking.classes]
        axes.barh(places, [c.mean for c in ranking.classes], height=0.7, color=colors)
        plate = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        for place, c in zip(places, ranking.classes, strict=True):
            dots = [value for value in c.iou if value is not None]
            if len(ranking.runs) > 1:
                axes.plot(dots, [place] * len(dots), "o", color="#1b1e24", markersize=3)
            end = (max(dots), place)
            axes.annotate(f"{c.mean:.1f}", end, (5, 0), textcoords="offset points", va="center", bbox=plate)
        axes.axvline(100 * ranking.hard_iou, color="#5b6270", linestyle="--", linewidth=1)
        axes.set_yticks(places, [c.name for c in ranking.classes], parse_math=False)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_title(ranking.title, loc="left", fontsize=11, parse_math=False)
        if ranking.absent:
            figure.supxlabel(
                f"absent, never hard: {', '.join(ranking.absent)}", fontsize=9, parse_math=False, wrap=True
            )


def _from_history(folder: Path, checkpoint: str) -> HeldOut:
    within = folder.resolve()
    if within.parent.name == "stages":
        if within.name != "image":
            raise InputError(f"{folder}: hard classes are the image level's; give the run's folder {within.parents[1]}")
        folder = within.parents[1]
    run = read_run(folder)
    staged = folder / "stages" / "image"
    history = read_run(staged).history if staged.is_dir() else run.history
    path = (staged if staged.is_dir() else folder) / "metrics.json"
    validations = [(entry, iou) for entry in history if (iou := _validated(entry))]
    if not validations:
        raise InputError(f"{path}: no IoU on held-out images; train with DATASETS.VAL or DATASETS.VAL_FRACTION")
    test, val, train = (list(run.setting(f"DATASETS.{key}") or ()) for key in ("TEST", "VAL", "TRAIN"))
    shared = [] if val else sorted({*train} & {*test})
    if shared:
        raise InputError(
            f"{run.folder}: the held-out images are a part of {', '.join(shared)}, which is in DATASETS.TEST too; "
            "hard classes are never chosen on test images: name another set in DATASETS.VAL"
        )
    entry, iou = validations[-1]
    if checkpoint == "best":  # of equals the first, as KeepBest has it
        entry, iou = max(validations, key=lambda v: number(v[0].get("val/sem_seg/mIoU")) or 0.0)
    data = ", ".join(val) or (f"a held-out share of {', '.join(train)}" if train else "held-out images")
    classes, notes = _classes_of(run, val or train)
    absent = tuple(name for name in classes if name not in iou)
    source = f"{path}, {checkpoint} validation (iteration {entry['iteration'] + 1:,})"
    return HeldOut(source, data, iou, absent, _threshold(run), (*notes, *_tested_too(val, test)))


def _validated(entry: dict[str, Any]) -> dict[str, float]:
    """IoU by class in a line of metrics.json; empty where it has none."""
    for level in LEVELS:
        prefix = f"val/{level}/IoU-"
        known = {key[len(prefix) :]: number(entry[key]) for key in entry if key.startswith(prefix)}
        if known:
            return {name: value for name, value in known.items() if value is not None}
    return {}


def _classes_of(run: RunFiles, names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """All classes of a data set, for metrics.json leaves absent ones out; and a note where they are not known."""
    try:
        catalog.register_cards(run.setting("DATASETS.CARDS") or ())
        return catalog.get_source(names[0] if names else "").classes, ()
    except InputError as error:
        return (), (f"classes absent from the held-out images are not known: {error}",)


def _from_evaluation(path: Path, run: RunFiles, evaluation: Evaluation) -> HeldOut:
    dataset = str(evaluation.document.get("dataset", evaluation.dataset))
    if not run.config:
        raise InputError(f"{path}: whether {dataset} is a test set cannot be told without its run's config.yaml")
    test, val = (list(run.setting(f"DATASETS.{key}") or ()) for key in ("TEST", "VAL"))
    if dataset not in val:
        what = "in DATASETS.TEST" if dataset in test else "not in DATASETS.VAL"
        raise InputError(
            f"{path}: {dataset} is {what} of its run; hard classes are chosen on held-out images only: give the "
            f"run's folder {run.folder} instead, whose metrics.json has their IoU"
        )
    level = next(level for level in LEVELS if level in evaluation.levels)
    figures = {name: evaluation.figure(f"IoU-{name}", level) for name in evaluation.classes}
    iou = {name: value for name, value in figures.items() if value is not None}
    if not iou:
        raise InputError(f"{path}: no class has an IoU in it; evaluate on images with labels")
    absent = tuple(name for name in figures if name not in iou)
    source = f"{path} (iteration {evaluation.iteration:,})" if evaluation.iteration else str(path)
    return HeldOut(source, dataset, iou, absent, _threshold(run), _tested_too([dataset], test))


def _threshold(run: RunFiles) -> float | None:
    return number(run.setting("MODEL.NIGHTLAB.HARD_IOU"))


def _tested_too(names: Sequence[str], test: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{name} is in DATASETS.TEST too: figures on it are no test figures" for name in names if name in test)
