"""Reads a run's folder. Whatever is missing or damaged becomes a note in words, not an error."""

import bisect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from nightlab.errors import InputError
from nightlab.report.run_files import STAGES, Evaluation, Picture, RunFiles, Stage, number

KINDS = ("best", "last")
# What index.json says of each picture, by file name.
Entries = dict[str, dict[str, Any]]
Gallery = tuple[Path, dict[str, Any], Entries, list[Path]]


def read_run(folder: str | Path) -> RunFiles:
    """Everything the report needs.

    Raises:
        InputError: there is no such folder, or no run has written to it.
    """
    run = RunFiles(Path(folder))
    if not run.folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the OUTPUT_DIR of a run")
    if not any((run.folder / name).exists() for name in ("config.yaml", "metrics.json", "stages", "evaluation")):
        raise InputError(f"{folder}: no config.yaml, metrics.json or evaluation/ in it; give the OUTPUT_DIR of a run")
    _read_config(run)
    _read_stages(run)
    _read_evaluations(run)
    _read_pictures(run)
    run.hardness, run.calibration, run.cost = (
        _read_json(run, run.folder / name, "") if (run.folder / name).exists() else {}
        for name in ("hardness.json", "calibration.json", "cost.json")
    )
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


def _read_stages(run: RunFiles) -> None:
    """Each stage keeps its own metrics.json in stages/; a run of the image level alone has one in its folder."""
    staged = run.is_staged if run.config else (run.folder / "stages").is_dir()
    for name in STAGES if staged else ["image"]:
        path = run.folder / "stages" / name / "metrics.json" if staged else run.folder / "metrics.json"
        if path.is_file():
            run.stages.append(Stage(name, _read_history(run, path)))
    trained = {stage.name for stage in run.stages}
    if not staged and not trained:
        run.notes.append("There is no metrics.json: no training was recorded, so there are no curves.")
    if staged and (missing := [STAGES[name] for name in run.planned_stages() if name not in trained]):
        run.notes.append(f"Stages without a metrics.json, so not trained here: {'; '.join(missing)}.")


def _read_history(run: RunFiles, path: Path) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = []
    damaged = 0
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry = json.loads(line)
            entry["iteration"] = int(entry["iteration"])
        except (ValueError, KeyError, TypeError):
            damaged += bool(line.strip())
            continue
        _record(history, entry)
    if damaged:
        name = path.relative_to(run.folder)
        run.notes.append(f"{name}: {damaged} damaged line(s); an interrupted run leaves a torn last line.")
    return history


def _record(history: list[dict[str, Any]], entry: dict[str, Any]) -> None:
    """Add a line of metrics.json. A resumed run appends: what it starts again from makes later lines of the earlier
    attempt void. Only lines with the loss tell where it is; what happened between two of them is written after both."""
    if "total_loss" in entry:
        while history and history[-1]["iteration"] > entry["iteration"]:
            history.pop()
    place = bisect.bisect_left(history, entry["iteration"], key=lambda known: known["iteration"])
    if place < len(history) and history[place]["iteration"] == entry["iteration"]:
        history[place] |= entry
    else:
        history.insert(place, entry)


def _read_evaluations(run: RunFiles) -> None:
    for path in sorted(run.folder.glob("evaluation/*/[!.]*.json")):
        document = _read_json(run, path, "")
        if isinstance(document.get("results"), dict) and isinstance(document["results"].get("sem_seg"), dict):
            run.evaluations.append(Evaluation(path.parent.name, path.stem, document, path))
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
    for folder, index, entries, files in _galleries(run, "pictures", "pictures without their ranks"):
        if index.get("ranked_by") == "gain":
            run.by_gain.add(folder.name)
        run.pictures[folder.name] = [Picture(file, _caption(file, entries, index.get("ranked", "?"))) for file in files]
    for folder, _, entries, files in _galleries(run, "light", "light maps without their figures"):
        run.light[folder.name] = [Picture(file, _light_caption(file, entries)) for file in files]
    if not run.pictures:
        run.notes.append("No pictures have been written (TEST.PICTURES tells how many).")


def _galleries(run: RunFiles, room: str, consequence: str) -> Iterator[Gallery]:
    """Folders of a room that have pictures: folder, index.json, what it says of each file, and the files."""
    for folder in sorted(path for path in run.folder.glob(f"{room}/*") if path.is_dir()):
        index = _read_json(run, folder / "index.json", consequence)
        listed = index.get("pictures")
        entries = {str(e.get("file")): e for e in listed if isinstance(e, dict)} if isinstance(listed, list) else {}
        files = [file for file in sorted(folder.glob("[!.]*.png")) if _is_picture(run, file)]
        if files:
            yield folder, index, entries, files


def _is_picture(run: RunFiles, file: Path) -> bool:
    try:
        with Image.open(file) as image:
            image.verify()
    except (OSError, SyntaxError):  # Pillow raises the latter for a broken PNG
        run.notes.append(f"{file.relative_to(run.folder)} cannot be read; it is left out.")
        return False
    return True


def _caption(file: Path, entries: Entries, total: Any) -> str:
    """Image id, rank and mIoU; for a picture of both levels what merging gained or lost."""
    if file.name not in entries:
        return file.stem
    entry = entries[file.name]
    after, before = number(entry.get("mIoU")), number(entry.get("mIoU_image_level"))
    place = f"rank {entry.get('rank')} of {total}"
    if after is None:
        return f"{entry.get('image_id')}: {place}"
    if before is None:
        return f"{entry.get('image_id')}: {place}, mIoU {after:.1f} %"
    change = f"{'gain' if after > before else 'loss'} of {abs(after - before):.1f} points"
    return f"{entry.get('image_id')}: {change}, mIoU from {before:.1f} to {after:.1f} % ({place} by gain)"


def _light_caption(file: Path, entries: Entries) -> str:
    """Image id, and what adaptation did to it, as far as the index tells."""
    entry = entries.get(file.name, {})
    before, after, ssim = (number(entry.get(key)) for key in ("luminance", "adapted_luminance", "ssim"))
    if before is None or after is None or ssim is None:
        return file.stem
    return f"{entry.get('image_id')}: mean luminance from {before:.0f} to {after:.0f} of 255, SSIM {ssim:.2f}"


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
