"""What a run left in its folder, as the report takes it: figures, history, pictures, and what is missing."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightlab.light_kinds import TRAINED
from nightlab.report.reliability import Point

LEVELS = {"sem_seg": "merged", "sem_seg_image_level": "image level"}
IMAGE_LEVEL = "sem_seg_image_level"
STAGES = {
    "light": "Light adaptation",
    "adapt": "Adaptation from day to night",
    "image": "Image level",
    "region": "Region level",
    "rdn": "Detector, labelled with boxes (RDN)",
    "hdm": "Detector, labelled by gain (HDM)",
}


@dataclass(frozen=True)
class Evaluation:
    """One file `evaluation/<data set>/<kind>.json`: the figures of a checkpoint on a data set."""

    dataset: str
    kind: str
    document: dict[str, Any]
    file: Path

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
        return [level for level in LEVELS if isinstance(self.document["results"].get(level), dict)]

    @property
    def is_dual(self) -> bool:
        """Whether the image level's figures stand beside the merged ones."""
        return IMAGE_LEVEL in self.levels

    def figure(self, name: str, level: str = "sem_seg") -> float | None:
        """A figure in percent; None where it does not exist, as the IoU of an absent class."""
        figures = self.document["results"].get(level)
        return number(figures.get(name)) if isinstance(figures, dict) else None

    def difference(self, name: str) -> float | None:
        """What merging adds to a figure, in points; None where one of the two does not exist."""
        after, before = self.figure(name), self.figure(name, IMAGE_LEVEL)
        return None if after is None or before is None else after - before

    def confusion(self, level: str = "sem_seg") -> list[list[int]] | None:
        """Pixel counts, ground truth in rows; None where the file has no square matrix of this level."""
        matrix = self.document.get("confusion_matrix")
        rows = matrix.get(level) if isinstance(matrix, dict) else None
        return rows if _is_square(rows, len(self.classes)) else None

    def reliability(self, level: str = "sem_seg") -> list[Point]:
        """Confidence against what is right, a point for each bin that has pixels; none where the file has no bins."""
        calibration = self.document.get("calibration")
        bins = calibration.get(level) if isinstance(calibration, dict) else None
        rows = [bins.get(key) for key in ("confidence_sum", "right", "pixels")] if isinstance(bins, dict) else []
        if not rows or not all(isinstance(row, list) for row in rows):
            return []
        columns = [[number(value) for value in column] for column in zip(*rows, strict=False)]
        known = [(c, r, n) for c, r, n in columns if c is not None and r is not None and n]
        total = sum(n for _, _, n in known)
        return [Point(c / n, r / n, n / total) for c, r, n in known]


@dataclass(frozen=True)
class Picture:
    file: Path
    caption: str


@dataclass(frozen=True)
class Stage:
    """What metrics.json tells of one stage.

    Attributes:
        name: a key of `STAGES`.
        history: its lines in the order of iterations, those of abandoned attempts left out.
    """

    name: str
    history: list[dict[str, Any]]

    @property
    def iterations(self) -> int:
        return self.history[-1]["iteration"] + 1 if self.history else 0

    @property
    def minutes(self) -> float:
        """Training time, from the seconds per iteration."""
        x, seconds = self.series("time")
        return sum(s * (now - before) for s, now, before in zip(seconds, x, [0, *x], strict=False)) / 60

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """Iterations (counted from 1) and finite values of one metric."""
        points = [(entry["iteration"] + 1, number(entry.get(key))) for entry in self.history]
        known = [(x, y) for x, y in points if y is not None]
        return [x for x, _ in known], [y for _, y in known]


@dataclass
class RunFiles:
    """All of a run that the report shows.

    Attributes:
        config: the configuration; empty where it cannot be read. `config_text` is the file as it stands.
        stages: those that were trained, in order; the image level alone for a run without stages.
        evaluations: in the order of DATASETS.TEST, and for each data set best, last, others.
        pictures: by data set. `by_gain` names the data sets whose pictures are the largest gains and losses.
        calibration: calibration.json, what was fitted by kind of checkpoint; empty where there is none.
        hardness: hardness.json, what the detector knows of gain; empty where there is none.
        cost: cost.json, the time of each component; empty where there is none.
        light: pictures of what light adaptation does, by data set.
        notes: what is missing or could not be read, a sentence each.
    """

    folder: Path
    config: dict[str, Any] = field(default_factory=dict)
    config_text: str = ""
    stages: list[Stage] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    by_gain: set[str] = field(default_factory=set)
    light: dict[str, list[Picture]] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    hardness: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def history(self) -> list[dict[str, Any]]:
        """Lines of the image level's metrics.json; empty where this run did not train it."""
        return next((stage.history for stage in self.stages if stage.name == "image"), [])

    @property
    def is_dual(self) -> bool:
        """Whether the configuration has a region level."""
        return bool(self.setting("MODEL.REGION.ENABLED"))

    @property
    def is_staged(self) -> bool:
        """Whether the run keeps its stages in folders of their own."""
        return self.planned_stages() != ["image"]

    def setting(self, key: str) -> Any:
        """A value of the configuration by its dotted name, as SOLVER.BASE_LR; None where it is not there."""
        value: Any = self.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def planned_stages(self) -> list[str]:
        """What the configuration asks this run to train."""
        first = self.setting("MODEL.LIGHT.TRAIN") == "first" and self.setting("MODEL.LIGHT.NAME") in TRAINED
        first &= "image" in (self.setting("MODEL.LIGHT.LEVELS") or ["image"])
        image = ["light"] if first else []
        image += ["adapt", "image"] if self.setting("MODEL.ADAPT.ENABLED") else ["image"]
        if not self.is_dual:
            return image
        detector = {"rdn": ["rdn"], "hdm": ["rdn", "hdm"]}.get(str(self.setting("MODEL.HARDNESS.LABELS")), [])
        if self.setting("STAGES.DETECTOR"):
            return ["hdm"]
        return [*([] if self.setting("STAGES.IMAGE_LEVEL") else image), "region", *detector]

    def planned_iterations(self, stage: str) -> int | None:
        """How long a stage is to be trained; None where it is not known."""
        own = self.setting(f"STAGES.{stage.upper()}.MAX_ITER") or self.setting("SOLVER.MAX_ITER")
        return own if isinstance(own, int) else None


def number(value: Any) -> float | None:
    """A finite number, or None for whatever else stands in a file."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if good else None


def _is_square(rows: Any, size: int) -> bool:
    """Whether `rows` are `size` lists of `size` whole numbers each."""
    if not isinstance(rows, list) or len(rows) != size:
        return False
    return all(isinstance(row, list) and len(row) == size and all(isinstance(n, int) for n in row) for row in rows)
