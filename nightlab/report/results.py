"""The report's results: bars and confusion per data set, tables, pictures."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from html import escape
from itertools import groupby
from pathlib import Path

from PIL import Image

from nightlab.report.charts import bars, heat_map
from nightlab.report.levels import comparison
from nightlab.report.run_files import LEVELS, Evaluation, Picture, RunFiles
from nightlab.report.text import fold, percent, signed, soft, table

FIGURES = ("mIoU", "mIoU-hard", "mIoU-easy", "mACC", "fwIoU", "pACC", "ECE")
PICTURE_WIDTH = 1280
JPEG_QUALITY = 88
CLICK = "Click to enlarge, click again to go back."

Column = tuple[str, Callable[[str], str]]


def by_data_set(run: RunFiles) -> str:
    """Bars and confusion of the first evaluation of each data set: of the best checkpoint where there is one."""
    chosen = [next(group) for _, group in groupby(run.evaluations, key=lambda e: e.dataset)]
    return "\n".join(_classes(run, e, unfold=e is chosen[0]) for e in chosen)


def _classes(run: RunFiles, e: Evaluation, *, unfold: bool) -> str:
    figures = {name: e.figure(f"IoU-{name}") for name in e.classes}
    rows = sorted(((n, v, n in e.hard) for n, v in figures.items() if v is not None), key=lambda row: -row[1])
    absent = [name for name, value in figures.items() if value is None]
    images = e.document.get("images", "an unknown number of")
    said = kind_in_words(e)
    parts = [f"<h2>{escape(e.dataset)}: IoU of each class, %</h2>"]
    parts.append(soft(f"{said[:1].upper()}{said[1:]}, {images} images. {_hardness(run, e)}"))
    parts.append(comparison(e) if e.is_dual else bars(rows))
    if absent:
        parts.append(soft(f"Absent from the ground truth, and so not in the means: {', '.join(absent)}."))
    for level in e.levels:
        confusion = e.confusion(level)
        if confusion:
            said = soft("Rows: true class; columns: prediction; % of the pixels of the true class.")
            body = f'{said}<div class="wide">{heat_map(e.classes, confusion)}</div>'
            name = f"What is taken for what{f', {LEVELS[level]}' if e.is_dual else ''}"
            parts.append(fold(name, body, unfold=unfold and level == "sem_seg"))
    return "".join(parts)


def _hardness(run: RunFiles, e: Evaluation) -> str:
    """Where the hard classes are from."""
    if e.hard and run.setting("MODEL.NIGHTLAB.HARD_CLASSES"):
        return "Marked classes are hard: the configuration names them."
    return f"{'Marked classes were' if e.hard else 'No class was'} found hard on the held-out images."


def picture_gallery(run: RunFiles) -> str:
    """The pictures of each data set, embedded."""
    parts = []
    for dataset, shown in run.pictures.items():
        by_gain = dataset in run.by_gain
        order = (
            "Where merging changed the image's mIoU most: from the largest gain to the largest loss. Boxes are "
            "regions, with number and score; below the maps those in which most changed, their image brightened."
            if by_gain
            else "From the best to the worst by the image's mIoU."
        )
        parts.append(f"<h2>Pictures of {escape(dataset)}</h2>")
        parts.append(soft(f"{order} {CLICK}"))
        parts.append(_gallery(shown))
    for dataset, shown in run.light.items():
        parts.append(f"<h2>Light adaptation of {escape(dataset)}</h2>")
        parts.append(soft(f"The light map, averaged over the colours: red adds light, blue takes it. {CLICK}"))
        parts.append(_gallery(shown))
    return "".join(parts)


def _gallery(shown: Iterable[Picture]) -> str:
    return f'<div class="pictures">{"".join(map(_picture, shown))}</div>'


def _picture(picture: Picture) -> str:
    room, dataset, file = picture.file.parts[-3:]
    caption, key = escape(picture.caption), escape(f"{room}-{dataset}-{file}")
    return (
        f'<figure><input type="checkbox" id="{key}" aria-label="enlarge {caption}"><label for="{key}">'
        f'<img src="{_embedded(picture.file)}" alt="{caption}"></label><figcaption>{caption}</figcaption></figure>'
    )


def _embedded(path: Path) -> str:
    """A picture as a data URI, as JPEG: less than half of the PNG's bytes."""
    with Image.open(path) as picture:
        image = picture.convert("RGB")
    image.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def all_figures(evaluations: Sequence[Evaluation]) -> str:
    """A table of means, and one of class IoU per data set, over all checkpoints, levels and their difference."""
    if not evaluations:
        return ""
    means = [
        [f"{e.dataset}, {name}", *(figure(key) for key in FIGURES)] for e in evaluations for name, figure in _columns(e)
    ]
    parts = [f"<h2>All figures, %</h2>{table(['', *FIGURES], means)}"]
    for dataset, group in groupby(evaluations, key=lambda e: e.dataset):
        shown = list(group)
        first, columns = shown[0], [column for e in shown for column in _columns(e)]
        rows = [
            [f"{name} *" if name in first.hard else name, *(figure(f"IoU-{name}") for _, figure in columns)]
            for name in first.classes
        ]
        iou = table(["class (* hard)" if first.hard else "class", *(name for name, _ in columns)], rows)
        parts.append(fold(f"IoU of each class on {dataset}", iou))
    return "".join(parts)


def _columns(e: Evaluation) -> list[Column]:
    """The evaluation's levels, and their difference in points where there are two: a name, and figures as text."""
    kind = kind_in_words(e)
    if not e.is_dual:
        return [(kind, partial(_level_figure, e, "sem_seg"))]
    levels: list[Column] = [
        (f"{kind}, {LEVELS[level]}", partial(_level_figure, e, level)) for level in reversed(LEVELS)
    ]
    return [*levels, (f"{kind}, difference", lambda name: signed(e.difference(name)))]


def _level_figure(e: Evaluation, level: str, name: str) -> str:
    return percent(e.figure(name, level))


def kind_in_words(e: Evaluation) -> str:
    """Which checkpoint was evaluated, as text: its kind, iteration, and whether at several scales."""
    kind = e.kind.removesuffix("_multi_scale")
    words = {"best": "best checkpoint", "last": "last checkpoint", "eval": str(e.document.get("checkpoint", "eval"))}
    said = words.get(kind, kind) + ("" if kind == e.kind else " at several scales")
    return f"{said} (iteration {e.iteration:,})" if e.iteration else said
