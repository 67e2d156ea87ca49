"""Reads a run's folder. Whatever is missing or damaged becomes a note in words, not an error."""

import json
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from nightlab.errors import InputError
from nightlab.report.run_files import Evaluation, Picture, RunFiles, number

KINDS = ("best", "last")


def read_run(folder: str | Path) -> RunFiles:
    """Everything the report needs.

    Raises:
        InputError: there is no such folder, or no run has written to it.
    """
    run = RunFiles(Path(folder))
    if not run.folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the OUTPUT_DIR of a run")
    if not any((run.folder / name).exists() for name in ("config.yaml", "metrics.json", "evaluation")):
        raise InputError(f"{folder}: no config.yaml, metrics.json or evaluation/ in it; give the OUTPUT_DIR of a run")
    _read_config(run)
    _read_history(run)
    _read_evaluations(run)
    _read_pictures(run)
    environment = _read_json(run, run.folder / "environment.json", "versions and device were not recorded")
    run.environment = {str(key): str(value) for key, value in environment.items()}
    return run


def _read_config(run: RunFiles) -> None:
    try:
        run.config_text = (run.folder / "config.yaml").read_text(encoding="utf-8")
        config = yaml.safe_load(run.config_text)
    except FileNotFoundError:
        run.notes.append("There is no config.yaml: the configuration and seed are not known.")
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        run.notes.append("config.yaml cannot be read: the configuration and seed are not known.")
    else:
        run.config = config if isinstance(config, dict) else {}


def _read_history(run: RunFiles) -> None:
    path = run.folder / "metrics.json"
    if not path.is_file():
        run.notes.append("There is no metrics.json: no training was recorded, so there are no curves.")
        return
    damaged = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            iteration = int(entry["iteration"])
        except (ValueError, KeyError, TypeError):
            damaged += bool(line.strip())
            continue
        # A resumed or repeated run appends: what it starts again from makes later lines of the earlier attempt void.
        while run.history and run.history[-1]["iteration"] > iteration:
            run.history.pop()
        if run.history and run.history[-1]["iteration"] == iteration:
            run.history[-1] |= entry
        else:
            run.history.append(entry)
    if damaged:
        run.notes.append(f"metrics.json: {damaged} damaged line(s); an interrupted run leaves a torn last line.")


def _read_evaluations(run: RunFiles) -> None:
    for path in sorted(run.folder.glob("evaluation/*/*.json")):
        document = _read_json(run, path, "")
        if isinstance(document.get("results"), dict) and isinstance(document["results"].get("sem_seg"), dict):
            run.evaluations.append(Evaluation(path.parent.name, path.stem, document))
        elif document:
            run.notes.append(f"{path.relative_to(run.folder)}: no results in it.")
    tested = list(run.setting("DATASETS.TEST") or ())

    def order(evaluation: Evaluation) -> tuple[int, str, int, str]:
        place = tested.index(evaluation.dataset) if evaluation.dataset in tested else len(tested)
        kind = KINDS.index(evaluation.kind) if evaluation.kind in KINDS else len(KINDS)
        return place, evaluation.dataset, kind, evaluation.kind

    run.evaluations.sort(key=order)
    if not run.evaluations:
        run.notes.append("No evaluation has been written yet.")


def _read_pictures(run: RunFiles) -> None:
    for folder in sorted(path for path in run.folder.glob("pictures/*") if path.is_dir()):
        index = _read_json(run, folder / "index.json", "pictures without their ranks")
        listed = index.get("pictures")
        entries = {str(e.get("file")): e for e in listed if isinstance(e, dict)} if isinstance(listed, list) else {}
        files = [file for file in sorted(folder.glob("[!.]*.png")) if _is_picture(run, file)]
        if files:
            run.pictures[folder.name] = [
                Picture(file, _caption(file, entries, index.get("ranked", "?"))) for file in files
            ]
    if not run.pictures:
        run.notes.append("No pictures have been written (TEST.PICTURES tells how many).")


def _is_picture(run: RunFiles, file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.verify()
    except (OSError, SyntaxError):  # Pillow raises the latter for a broken PNG
        run.notes.append(f"{file.relative_to(run.folder)} cannot be read; it is left out.")
        return False
    return True


def _caption(file: Path, entries: dict[str, dict[str, Any]], total: Any) -> str:
    if file.name not in entries:
        return file.stem
    entry = entries[file.name]
    score = number(entry.get("mIoU"))
    said = "" if score is None else f", mIoU {score:.1f} %"
    return f"{entry.get('image_id')}: rank {entry.get('rank')} of {total}{said}"


def _read_json(run: RunFiles, path: Path, consequence: str) -> dict[str, Any]:
    """A JSON object; an empty one and a note where there is none."""
    name = path.relative_to(run.folder)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        run.notes.append(f"There is no {name}: {consequence}.")
        return {}
    except (OSError, ValueError):
        run.notes.append(f"{name} cannot be read; it is left out.")
        return {}
    if not isinstance(document, dict):
        run.notes.append(f"{name} is not what a run writes; it is left out.")
        return {}
    return document
