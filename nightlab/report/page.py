"""Builds the report: one HTML file that needs nothing beside it."""

import shlex
from html import escape
from itertools import groupby
from pathlib import Path

from nightlab.errors import InputError
from nightlab.files import written_aside
from nightlab.report.charts import Series, line_chart
from nightlab.report.reading import read_run
from nightlab.report.results import all_figures, by_data_set, fold, kind_in_words, percent, picture_gallery, soft
from nightlab.report.run_files import RunFiles
from nightlab.report.style import CSS

LOSSES = ("total_loss", "loss_sem_seg", "loss_aux")
FACTS = {
    "trained on": "DATASETS.TRAIN",
    "checkpoint chosen on": "DATASETS.VAL",
    "tested on": "DATASETS.TEST",
    "backbone": "MODEL.TIMM.NAME",
    "start weights of the backbone": "MODEL.TIMM.WEIGHTS",
    "start weights of the model": "MODEL.WEIGHTS",
    "images per step": "SOLVER.IMS_PER_BATCH",
    "steps": "SOLVER.MAX_ITER",
    "learning rate": "SOLVER.BASE_LR",
    "crop (height, width)": "INPUT.CROP_SIZE",
    "seed": "SEED",
}


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
        _curves(run),
        by_data_set(run.evaluations),
        picture_gallery(run.pictures),
        all_figures(run.evaluations),
        _origin(run),
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
    if run.history:
        done, wanted = run.history[-1]["iteration"] + 1, run.setting("SOLVER.MAX_ITER")
        whole = f" of {wanted:,}" if isinstance(wanted, int) and wanted != done else ""
        minutes = _training_minutes(run)
        spent = f", about {minutes:.0f} minutes" if minutes >= 1 else ""
        tiles.append((f"{done:,}", f"iterations{whole}{spent}"))
    inner = "".join(f'<div class="tile"><b>{escape(b)}</b><span>{escape(s)}</span></div>' for b, s in tiles)
    trained = _text(run.setting("DATASETS.TRAIN"))
    return (soft(f"Trained on {trained}.") if trained else "") + f'<div class="tiles">{inner}</div>'


def _notes(run: RunFiles) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in run.notes)
    return f'<div class="notes"><b>Not on this page</b><ul>{items}</ul></div>' if items else ""


def _curves(run: RunFiles) -> str:
    validation = Series("mIoU", *run.series("val/sem_seg/mIoU"))
    best = next((e.iteration for e in run.evaluations if e.kind == "best" and e.iteration), None)
    charts = [
        line_chart("Loss", [Series(name, *run.series(name)) for name in LOSSES]),
        line_chart("mIoU on held-out images, %", [validation], mark=(best, "best") if best else None),
        line_chart("Learning rate of most parameters", [Series("learning rate", *run.series("lr"))]),
    ]
    if not any(charts):
        return ""
    said = "" if charts[1] else soft("No mIoU on held-out images was recorded, so there is no curve of it.")
    return f'<h2>Training</h2>{said}<div class="charts">{"".join(charts)}</div>'


def _origin(run: RunFiles) -> str:
    """Settings, versions, the commands that make this page and its figures again, and the whole configuration."""
    facts = {name: _text(run.setting(key)) for name, key in FACTS.items()}
    share = run.setting("DATASETS.VAL_FRACTION")
    if run.config and not facts["checkpoint chosen on"] and share:
        facts["checkpoint chosen on"] = f"{100 * share:g} % of the training images, held out"
    facts |= run.environment
    rows = "".join(f'<tr><th scope="row">{escape(n)}</th><td>{escape(v)}</td></tr>' for n, v in facts.items() if v)
    commands = escape("\n".join(_commands(run)))
    parts = ["<h2>How it was made</h2>"]
    parts.append(f'<table class="facts">{rows}</table>' if rows else soft("Nothing about it was recorded."))
    parts.append(f"<h3>Make this page again, and its figures</h3><pre>{commands}</pre>")
    if run.config_text:
        parts.append(fold("The whole configuration", f"<pre>{escape(run.config_text)}</pre>"))
    return "".join(parts)


def _commands(run: RunFiles) -> list[str]:
    commands = [f"python tools/report.py {shlex.quote(str(run.folder))}"]
    weights = [run.folder / name for name in ("model_best.pth", "model_final.pth") if (run.folder / name).is_file()]
    if weights and run.config:
        config, checkpoint = shlex.quote(str(run.folder / "config.yaml")), shlex.quote(str(weights[0]))
        train_net = "python projects/NightLab/train_net.py"
        commands.append(f"{train_net} --config-file {config} --eval-only MODEL.WEIGHTS {checkpoint}")
    return commands


def _training_minutes(run: RunFiles) -> float:
    """From the seconds per iteration that stand in metrics.json."""
    x, seconds = run.series("time")
    return sum(s * (now - before) for s, now, before in zip(seconds, x, [0, *x], strict=False)) / 60


def _text(value: object) -> str:
    """A setting as text; empty where it is not set."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
