"""Runs a study: every row with every seed, skipping what is finished and resuming what is not."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from nightlab.config import load_config
from nightlab.engine.stages import BEST
from nightlab.errors import InputError, enumerate_some
from nightlab.evaluation.ablation import Row, Study
from nightlab.files import written_aside

TRAIN_NET = Path(__file__).resolve().parents[2] / "projects" / "NightLab" / "train_net.py"
SETTINGS = "row.json"
LOG = "ablation.log"
PLACES = ("OUTPUT_DIR", "MODEL.DEVICE", "STAGES.IMAGE_LEVEL")


@dataclass(frozen=True)
class Event:
    """What became of one run: "finished before", "started", "finished" or "failed", with the reason where it failed."""

    row: Row
    seed: int
    what: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}: {self.what}{f' ({self.reason})' if self.reason else ''}"


Training = Callable[[str, Sequence[str], Path, int], int]


def train(config: str, opts: Sequence[str], log: Path, num_gpus: int) -> int:
    """Runs `train_net.py --resume` in a process of its own, its output at the end of `log`; returns the exit status."""
    command = [sys.executable, str(TRAIN_NET), "--config-file", config, "--num-gpus", str(num_gpus), "--resume", *opts]
    with log.open("ab") as file:
        return subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False).returncode


def run_study(study: Study, output: Path, *, num_gpus: int = 0, training: Training = train) -> Iterator[Event]:
    """Runs what is not finished, seed after seed, and says what becomes of it. A failed run does not stop the others.

    Raises:
        InputError: a configuration does not load, or a folder holds a run of other settings.
    """
    for row in study.rows:
        for seed in study.seeds:
            check_settings(study, output, row, seed)
    for seed in study.seeds:
        for row in study.rows:
            if study.evaluation(output, row, seed).is_file():
                yield Event(row, seed, "finished before")
                continue
            if row.image_level and not _start(study, output, row, seed).is_file():
                yield Event(row, seed, "failed", f"'{row.image_level}' has no {BEST} of this seed to start from")
                continue
            folder = study.run_folder(output, row, seed)
            folder.mkdir(parents=True, exist_ok=True)
            with written_aside(folder / SETTINGS) as aside:
                aside.write_text(json.dumps(settings(study, output, row, seed), indent=1) + "\n", encoding="utf-8")
            yield Event(row, seed, "started")
            status = training(row.config, options(study, output, row, seed), folder / LOG, num_gpus)
            if status == 0 and study.evaluation(output, row, seed).is_file():
                yield Event(row, seed, "finished")
            else:
                yield Event(row, seed, "failed", f"exit status {status}; see {folder / LOG}")


def options(study: Study, output: Path, row: Row, seed: int) -> list[str]:
    """The KEY VALUE pairs of one run."""
    start = ["STAGES.IMAGE_LEVEL", str(_start(study, output, row, seed))] if row.image_level else []
    return [*row.opts, *start, "SEED", str(seed), "OUTPUT_DIR", str(study.run_folder(output, row, seed))]


def settings(study: Study, output: Path, row: Row, seed: int) -> dict[str, object]:
    """Every setting of a run by its dotted name, but for where it lies and runs: what a folder is known by."""
    cfg = load_config(row.config, options(study, output, row, seed))
    known = dict(_flat(yaml.safe_load(cfg.dump())))
    return {key: value for key, value in known.items() if key not in PLACES} | {"image level of": row.image_level}


def check_settings(study: Study, output: Path, row: Row, seed: int) -> None:
    """Raises InputError where the run's folder was begun with other settings, whose figures must not be mixed in."""
    path = study.run_folder(output, row, seed) / SETTINGS
    new = settings(study, output, row, seed)
    if not path.is_file():
        return
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: cannot be read ({error}); delete the folder to run it anew") from None
    changed = [f"{k}: {old.get(k)} is now {new.get(k)}" for k in {**old, **new} if old.get(k) != new.get(k)]
    if changed:
        raise InputError(
            f"{path.parent}: was begun with other settings ({enumerate_some(changed, 3)}); delete the folder to run it "
            f"anew, delete {SETTINGS} in it to count it as it is, or give the row another name"
        )


def _start(study: Study, output: Path, row: Row, seed: int) -> Path:
    before = next(other for other in study.rows if other.name == row.image_level)
    return study.run_folder(output, before, seed) / BEST


def _flat(content: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
