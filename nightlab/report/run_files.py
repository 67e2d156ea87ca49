"""What a run left in its folder, as the report takes it: figures, history, pictures, and what is missing."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
        return number(self.document["results"].get(level, {}).get(name))

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
        points = [(entry["iteration"] + 1, number(entry.get(key))) for entry in self.history]
        known = [(x, y) for x, y in points if y is not None]
        return [x for x, _ in known], [y for _, y in known]


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else stands in a file."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def _is_square(rows: Any, size: int) -> bool:
    """Whether `rows` are `size` lists of `size` whole numbers each."""
    if not isinstance(rows, list) or len(rows) != size:
        return False
    return all(isinstance(row, list) and len(row) == size and all(isinstance(n, int) for n in row) for row in rows)
