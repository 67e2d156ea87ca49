"""A study: named rows (a configuration, options, the paper's figure) times seeds, and what their runs have come to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nightlab.config import load_config
from nightlab.data.card_values import did_you_mean
from nightlab.errors import InputError
from nightlab.evaluation.bootstrap import load_counts
from nightlab.evaluation.evaluator import evaluation_file
from nightlab.evaluation.metrics import are_named, mean_iou

STUDY_KEYS = ("name", "dataset", "checkpoint", "seeds", "base", "hard_classes", "opts", "rows")
STARTS = ("weights", "image_level", "detector")
ROW_KEYS = ("name", "config", "opts", "stage", *STARTS, "paper")
CHECKPOINTS = ("best", "last")


@dataclass(frozen=True)
class Row:
    """One variant.

    Attributes:
        opts: KEY VALUE pairs on top of the configuration, the study's before the row's own.
        stage: what it trains, as `train_net.py --stage`.
        weights: an earlier row whose checkpoint (of the same seed) this one's training starts from; "" none.
        image_level: an earlier row whose image level (of the same seed) this one starts from; "" trains its own.
        detector: an earlier row with RDN, whose levels and detector this one's HDM goes on from; "" trains its own.
        paper: the paper's mIoU in percent.
    """

    name: str
    config: str
    opts: tuple[str, ...] = ()
    stage: str = "all"
    weights: str = ""
    image_level: str = ""
    detector: str = ""
    paper: float | None = None

    @property
    def folder(self) -> str:
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


@dataclass(frozen=True)
class Study:
    """Rows in the order of the table.

    Attributes:
        dataset, checkpoint: which evaluation of a run counts.
        base: the row that gains are above; "" the first one that is finished.
        hard_classes: names of those whose mean is given as that of the hard classes; none: each run's own.
    """

    name: str
    dataset: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    checkpoint: str = "best"
    base: str = ""
    hard_classes: tuple[str, ...] = ()

    def run_folder(self, output: Path, row: Row, seed: int) -> Path:
        return output / row.folder / f"seed{seed}"

    def evaluation(self, output: Path, row: Row, seed: int) -> Path:
        """The file that a finished run has.

        Raises:
            InputError: the row's configuration, which says how it is tested, does not load.
        """
        folder = str(self.run_folder(output, row, seed))
        cfg = load_config(row.config, [*row.opts, "OUTPUT_DIR", folder])
        return evaluation_file(cfg, self.dataset, self.checkpoint)


@dataclass(frozen=True)
class Result:
    """One finished run: its figures in percent, and its counts `[N, 3, K]` by image."""

    seed: int
    figures: dict[str, Any]
    hard_classes: tuple[str, ...]
    counts: np.ndarray


def read_study(path: Path) -> Study:
    """A study from its YAML file.

    Raises:
        InputError: the file is missing, no YAML, or has unknown, missing or contradictory entries.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(
            f"{path}: not a study ({' '.join(str(error).split())}); see projects/NightLab/studies"
        ) from None
    _check_keys(path, content, STUDY_KEYS, ("name", "dataset", "seeds", "rows"))
    common = _options(path, content.get("opts", []))
    rows: list[Row] = []
    if not isinstance(content["rows"], list):
        raise InputError(f"{path}: rows is {content['rows']!r}; list rows, each with at least a name and a config")
    for entry in content["rows"]:
        _check_keys(path, entry, ROW_KEYS, ("name", "config"))
        for start in [str(entry[key]) for key in STARTS if entry.get(key)]:
            if start not in [row.name for row in rows]:
                raise InputError(f"{path}: row '{entry['name']}' starts from '{start}', which is no row before it")
        paper = entry.get("paper")
        if paper is not None and not isinstance(paper, (int, float)):
            raise InputError(f"{path}: row '{entry['name']}': paper is {paper!r}; give a number, or leave it out")
        named = {key: str(entry[key]) for key in ("name", "config", "stage", *STARTS) if key in entry}
        opts = common + _options(path, entry.get("opts", []))
        row = Row(**named, opts=opts, paper=None if paper is None else float(paper))
        if row.folder in [other.folder for other in rows]:
            raise InputError(f"{path}: two rows would use the folder '{row.folder}'; give them other names")
        rows.append(row)
    seeds = content["seeds"]
    if not isinstance(seeds, list) or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"{path}: seeds is {seeds!r}; list whole numbers, as [1, 2, 3]")
    checkpoint = str(content.get("checkpoint", "best"))
    if checkpoint not in CHECKPOINTS:
        raise InputError(f"{path}: checkpoint is '{checkpoint}'; it can be {' or '.join(CHECKPOINTS)}")
    base, hard = str(content.get("base", "")), content.get("hard_classes", [])
    if base and base not in [row.name for row in rows]:
        raise InputError(f"{path}: base is '{base}', which is no row{did_you_mean(base, [row.name for row in rows])}")
    if not isinstance(hard, list) or not all(isinstance(name, str) for name in hard):
        raise InputError(f"{path}: hard_classes is {hard!r}; list names of classes, as [pole, person]")
    return Study(
        str(content["name"]), str(content["dataset"]), tuple(seeds), tuple(rows), checkpoint, base, tuple(hard)
    )


def collect(study: Study, output: Path) -> dict[str, list[Result]]:
    """What the finished runs of a study came to, by row; rows without any are left out.

    Raises:
        InputError: runs were evaluated on different images or classes, so that they cannot be compared, or without one
            of the study's hard classes; or a configuration does not load.
    """
    results: dict[str, list[Result]] = {}
    first: tuple[Path, Any, np.ndarray] | None = None
    for row in study.rows:
        for seed in study.seeds:
            file = study.evaluation(output, row, seed)
            if not file.is_file():
                continue
            document, images, counts = load_counts(file)
            first = first or (file, document["classes"], images)
            if document["classes"] != first[1] or not np.array_equal(images, first[2]):
                raise InputError(
                    f"{file}: evaluated on other images or classes than {first[0]}; evaluate one of them anew"
                )
            figures, hard = document["results"]["sem_seg"], tuple(document.get("hard_classes", ()))
            if study.hard_classes:
                hard = study.hard_classes
                chosen = are_named(document["classes"], hard, f"study {study.name}: hard_classes")
                figures = figures | {"mIoU-hard": 100 * float(mean_iou(counts.sum(0)[:, chosen]))}
            results.setdefault(row.name, []).append(Result(seed, figures, hard, counts))
    return results


def _options(path: Path, opts: Any) -> tuple[str, ...]:
    if not isinstance(opts, list) or len(opts) % 2:
        raise InputError(f"{path}: opts is {opts!r}; list keys and values in turn, as [SOLVER.MAX_ITER, 100]")
    return tuple(str(opt) for opt in opts)


def _check_keys(path: Path, content: Any, known: Sequence[str], required: Sequence[str]) -> None:
    if not isinstance(content, dict):
        raise InputError(f"{path}: {content!r} stands where the keys {', '.join(known)} are meant")
    for key in content:
        if key not in known:
            raise InputError(f"{path}: unknown key '{key}'{did_you_mean(str(key), known)}")
    for key in required:
        if not content.get(key):
            raise InputError(f"{path}: the key '{key}' is missing; add it (projects/NightLab/studies has examples)")
