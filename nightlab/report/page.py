"""Builds the report: one HTML file that needs nothing beside it."""

from html import escape
from itertools import groupby
from pathlib import Path

from nightlab.errors import InputError
from nightlab.files import written_aside
from nightlab.report.cost import cost
from nightlab.report.hardness import hardness
from nightlab.report.origin import origin
from nightlab.report.reading import read_run
from nightlab.report.results import all_figures, by_data_set, kind_in_words, picture_gallery
from nightlab.report.run_files import IMAGE_LEVEL, Evaluation, RunFiles
from nightlab.report.style import CSS
from nightlab.report.text import as_text, percent, signed, soft
from nightlab.report.training import training
from nightlab.report.trust import trust


def write_report(run_dir: str | Path, output: str | Path | None = None) -> Path:
    """Write a run's report (default: `report.html` in its folder) and return where it is.

    Everything on it comes from files of the folder; what is missing there is said on the page.

    Raises:
        InputError: `run_dir` is not the folder of a run, or `output` cannot be written.
    """
    run = read_run(run_dir)
    path = Path(output) if output else run.folder / "report.html"
    page = _page(run)
    try:
        with written_aside(path) as aside:
            aside.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: the report cannot be written ({error.strerror}); name another file") from error
    return path


def _page(run: RunFiles) -> str:
    title = escape(f"NightLab: {run.folder.resolve().name}")
    sections = (
        _headline(run),
        _notes(run),
        training(run),
        by_data_set(run),
        trust(run),
        hardness(run),
        cost(run),
        picture_gallery(run),
        all_figures(run.evaluations),
        origin(run),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{CSS}</style></head>\n<body><h1>{title}</h1>\n"
        + "\n".join(section for section in sections if section)
        + "</body></html>\n"
    )


def _headline(run: RunFiles) -> str:
    tiles = []
    for dataset, group in groupby(run.evaluations, key=lambda e: e.dataset):
        first, *others = group
        also = "".join(f"; {kind_in_words(e)}: {percent(e.figure('mIoU'))}" for e in others)
        tiles.append((f"{percent(first.figure('mIoU'))} %", f"mIoU on {dataset}, {kind_in_words(first)}{also}"))
        if first.is_dual:
            tiles += [
                _gain(first, "mIoU", "of mIoU against the image level"),
                _gain(first, "mIoU-hard", "on the hard classes"),
            ]
    if run.stages:
        tiles.append(_iterations(run))
    inner = "".join(f'<div class="tile"><b>{escape(b)}</b><span>{escape(s)}</span></div>' for b, s in tiles)
    trained = as_text(run.setting("DATASETS.TRAIN"))
    return (soft(f"Trained on {trained}.") if trained else "") + f'<div class="tiles">{inner}</div>'


def _gain(e: Evaluation, figure: str, what: str) -> tuple[str, str]:
    levels = f"{percent(e.figure(figure, IMAGE_LEVEL))} to {percent(e.figure(figure))} %"
    return signed(e.difference(figure)), f"points {what}: {levels}"


def _iterations(run: RunFiles) -> tuple[str, str]:
    done, minutes = sum(stage.iterations for stage in run.stages), sum(stage.minutes for stage in run.stages)
    planned = [run.planned_iterations(stage) for stage in run.planned_stages()]
    wanted = sum(n for n in planned if n) if all(planned) else done
    whole = f" of {wanted:,}" if wanted != done else ""
    stages = f" in {len(run.stages)} stage{'s' * (len(run.stages) > 1)}" if run.is_staged else ""
    return f"{done:,}", f"iterations{whole}{stages}" + (f", about {minutes:.0f} minutes" if minutes >= 1 else "")


def _notes(run: RunFiles) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in run.notes)
    return f'<div class="notes"><b>Not on this page</b><ul>{items}</ul></div>' if items else ""
