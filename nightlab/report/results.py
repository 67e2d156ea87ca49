"""Sections of the report that show what was measured: bars and confusion per data set, tables, pictures."""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from PIL import Image

from nightlab.report.charts import bars, heat_map
from nightlab.report.run_files import LEVELS, Evaluation, Picture

FIGURES = ("mIoU", "mIoU-hard", "mIoU-easy", "mACC", "fwIoU", "pACC")
PICTURE_SIZE = 1280
JPEG_QUALITY = 88


def by_data_set(evaluations: Sequence[Evaluation]) -> str:
    """Bars and confusion of the first evaluation of each data set: of the best checkpoint where there is one."""
    chosen = [next(group) for _, group in groupby(evaluations, key=lambda e: e.dataset)]
    return "\n".join(_classes(e, unfold=e is chosen[0]) for e in chosen)


def _classes(e: Evaluation, *, unfold: bool) -> str:
    figures = {name: e.figure(f"IoU-{name}") for name in e.classes}
    rows = sorted(((n, v, n in e.hard) for n, v in figures.items() if v is not None), key=lambda row: -row[1])
    absent = [name for name, value in figures.items() if value is None]
    images = e.document.get("images", "an unknown number of")
    said = kind_in_words(e)
    hard = "Marked classes were" if e.hard else "No class was"
    parts = [f"<h2>{escape(e.dataset)}: IoU of each class, %</h2>"]
    parts.append(soft(f"{said[:1].upper()}{said[1:]}, {images} images. {hard} found hard on the held-out images."))
    parts.append(bars(rows))
    if absent:
        parts.append(soft(f"Absent from the ground truth, and so not in the means: {', '.join(absent)}."))
    confusion = e.confusion()
    if confusion:
        said = soft("Rows: true class; columns: prediction; % of the pixels of the true class.")
        body = f'{said}<div class="wide">{heat_map(e.classes, confusion)}</div>'
        parts.append(fold("What is taken for what", body, unfold=unfold))
    return "".join(parts)


def picture_gallery(pictures: Mapping[str, Sequence[Picture]]) -> str:
    """The pictures of each data set, embedded."""
    parts = []
    for dataset, shown in pictures.items():
        parts.append(f"<h2>Pictures of {escape(dataset)}</h2>")
        parts.append(soft("From the best to the worst by the image's mIoU. Click to enlarge, click again to go back."))
        parts.append(f'<div class="pictures">{"".join(map(_picture, shown))}</div>')
    return "".join(parts)


def _picture(picture: Picture) -> str:
    caption, key = escape(picture.caption), escape(f"{picture.file.parent.name}-{picture.file.stem}")
    return (
        f'<figure><input type="checkbox" id="{key}" aria-label="enlarge {caption}"><label for="{key}">'
        f'<img src="{_embedded(picture.file)}" alt="{caption}"></label><figcaption>{caption}</figcaption></figure>'
    )


def _embedded(path: Path) -> str:
    """A picture as a data URI, as JPEG: less than half of the PNG's bytes."""
    with Image.open(path) as picture:
        image = picture.convert("RGB")
    image.thumbnail((PICTURE_SIZE, PICTURE_SIZE))
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=JPEG_QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"


def all_figures(evaluations: Sequence[Evaluation]) -> str:
    """A table of means, and one of class IoU per data set, over all checkpoints and levels."""
    if not evaluations:
        return ""
    columns = [(e, level) for e in evaluations for level in e.levels]
    means = [[f"{e.dataset}, {_column(e, level)}", *_cells(FIGURES, e, level)] for e, level in columns]
    parts = [f"<h2>All figures, %</h2>{_table(['', *FIGURES], means)}"]
    for dataset, group in groupby(columns, key=lambda column: column[0].dataset):
        shown = list(group)
        names = shown[0][0].classes
        values = [_cells([f"IoU-{name}" for name in names], e, level) for e, level in shown]
        rows = [list(row) for row in zip(names, *values, strict=True)]
        table = _table(["class", *(_column(e, level) for e, level in shown)], rows)
        parts.append(fold(f"IoU of each class on {dataset}", table))
    return "".join(parts)


def _column(e: Evaluation, level: str) -> str:
    return ", ".join(filter(None, (kind_in_words(e), LEVELS[level])))


def _cells(figures: Iterable[str], e: Evaluation, level: str) -> list[str]:
    return [percent(e.figure(figure, level)) for figure in figures]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    columns = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    lines = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    table = f'<table class="figures"><thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def kind_in_words(e: Evaluation) -> str:
    """Which checkpoint was evaluated, as text: its kind, iteration, and whether at several scales."""
    kind = e.kind.removesuffix("_multi_scale")
    words = {"best": "best checkpoint", "last": "last checkpoint", "eval": str(e.document.get("checkpoint", "eval"))}
    said = words.get(kind, kind) + ("" if kind == e.kind else " at several scales")
    return f"{said} (iteration {e.iteration:,})" if e.iteration else said


def percent(value: float | None) -> str:
    """Two decimals; a dash for what does not exist."""
    return "–" if value is None else f"{value:.2f}"


def soft(text: str) -> str:
    """A paragraph of plain text, in the quiet colour."""
    return f'<p class="soft">{escape(text)}</p>'


def fold(summary: str, body: str, *, unfold: bool = False) -> str:
    """HTML under a summary that opens it."""
    return f"<details{' open' if unfold else ''}><summary>{escape(summary)}</summary>{body}</details>"
