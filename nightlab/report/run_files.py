"""Reads what a run left in its folder. Whatever is missing or damaged becomes a note in words, not an error."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from nightlab.errors import InputError

KINDS = ("best", "last")
LEVELS = {"sem_seg": "", "sem_seg_image_level": "image level"}


@dataclass(frozen=True)
class Evaluation:
    """One file `evaluation/<data set>/<kind>.json`: the figures of a checkpoint on a data set."""

    dataset: str
    kind: str
    document: dict[str, Any]

    @property
    def classes(self) -> list[str]:
        names = self.document.get("classes")
        return [str(name) for name in names] if isinstance(names, list) else []

    @property
    def hard(self) -> set[str]:
        names = self.document.get("hard_classes")
        return set(map(str, names)) if isinstance(names, list) else set()

    @property
    def iteration(self) -> int | None:
        value = self.document.get("iteration")
        return value + 1 if isinstance(value, int) else None  # a checkpoint names the last iteration it saw, from 0

    @property
    def levels(self) -> list[str]:
        return [level for level in LEVELS if level in self.document["results"]]

    def figure(self, name: str, level: str = "sem_seg") -> float | None:
        """A figure in percent; None where it does not exist, as the IoU of an absent class."""
        return _number(self.document["results"].get(level, {}).get(name))

    def confusion(self, level: str = "sem_seg") -> list[list[int]] | None:
        """Pixel counts, ground truth in rows; None where the file has no square matrix of this level."""
        matrix = self.document.get("confusion_matrix")
        rows = matrix.get(level) if isinstance(matrix, dict) else None
        return rows if _is_square(rows, len(self.classes)) else None


@dataclass(frozen=True)
class Picture:
    file: Path
    caption: str


@dataclass
class RunFiles:
    """All of a run that the report shows.

    Attributes:
        config: the configuration; empty where it cannot be read. `config_text` is the file as it stands.
        history: lines of metrics.json in the order of iterations, those of abandoned attempts left out.
        evaluations: in the order of DATASETS.TEST, and for each data set best, last, others.
        pictures: by data set.
        notes: what is missing or could not be read, a sentence each.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def setting(self, key: str) -> Any:
        """A value of the configuration by its dotted name, as SOLVER.BASE_LR; None where it is not there."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Iterations (counted from 1) and finite values of one metric."""
        points = [(entry["iteration"] + 1, _number(entry.get(key))) for entry in self.history]
        known = [(x, y) for x, y in points if y is not None]
        return [x for x, _ in known], [y for _, y in known]


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
        entries = {str(entry.get("file")): entry for entry in index.get("pictures", []) if isinstance(entry, dict)}
        total = index.get("ranked", "?")
        shown = [Picture(file, _caption(file, entries, total)) for file in sorted(folder.glob("[!.]*.png"))]
        if shown:
            run.pictures[folder.name] = shown
    if not run.pictures:
        run.notes.append("No pictures have been written (TEST.PICTURES tells how many).")


def _caption(file: Path, entries: dict[str, dict[str, Any]], total: Any) -> str:
    if file.name not in entries:
        return file.stem
    entry = entries[file.name]
    score = _number(entry.get("mIoU"))
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


def _number(value: Any) -> float | None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def _is_square(rows: Any, size: int) -> bool:
    """Whether `rows` are `size` lists of `size` whole numbers each."""
    if not isinstance(rows, list) or len(rows) != size:
        return False
    return all(isinstance(row, list) and len(row) == size and all(isinstance(n, int) for n in row) for row in rows)
