"""Runs a study: every row with every seed, skipping what is finished and resuming what is not."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab.config import changed_settings, load_config, settings_of
from nightlab.engine.plan import CHOICES
from nightlab.engine.stages import BEST, LAST
from nightlab.errors import InputError, enumerate_some, shortened
from nightlab.evaluation.ablation import Row, Study
from nightlab.files import write_json_aside
from nightlab.signals import STOPPED, passed_on

TRAIN_NET = Path(__file__).resolve().parents[2] / "projects" / "NightLab" / "train_net.py"
SETTINGS = "row.json"
LOG = "ablation.log"
PLACES = ("OUTPUT_DIR", "MODEL.DEVICE", "STAGES.IMAGE_LEVEL", "STAGES.DETECTOR")
# What a folder is known by beside its settings, where it was begun before that was written down.
STARTS_ALONE = {"image level of": "", "detector of": "", "stage": "all"}
# How a training ends that a signal stopped: with a checkpoint, or outside of its loop at once. Both can be resumed.
STOPS = (STOPPED, -signal.SIGTERM, -signal.SIGINT)


@dataclass(frozen=True)
class Event:
    """What became of one run: "finished before", "started", "finished", "stopped" or "failed", which has a reason."""

    row: Row
    seed: int
    what: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.row.name}, seed {self.seed}: {self.what}{f' ({self.reason})' if self.reason else ''}"


Training = Callable[[Row, Sequence[str], Path, int], int]


def train(row: Row, opts: Sequence[str], log: Path, num_gpus: int) -> int:
    """Runs `train_net.py --resume` in a process of its own, its output at the end of `log`; returns the exit status.

    A signal to this process is passed on to it, and what it makes of that is waited for.
    """
    command = [sys.executable, str(TRAIN_NET), "--config-file", row.config, "--stage", row.stage]
    command += ["--num-gpus", str(num_gpus), "--resume", *opts]
    running: list[subprocess.Popen[bytes]] = []
    with log.open("ab") as file, passed_on(lambda: running):
        running.append(subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT))
        return running[0].wait()


def run_study(study: Study, output: Path, *, num_gpus: int = 0, training: Training = train) -> Iterator[Event]:
    """Runs what is not finished, seed after seed, and says what becomes of it. A failed run does not stop the others;
    one that a signal stopped ends the study, and is gone on with when it is run again.

    Raises:
        InputError: a configuration does not load, a row is not evaluated on the study's data set, a stage does not
            exist or ends without an evaluation, or a folder holds a run of other settings.
    """
    for row in study.rows:
        check_row(study, row)
        for seed in study.seeds:
            check_settings(study, output, row, seed)
    for seed in study.seeds:
        for row in study.rows:
            if study.evaluation(output, row, seed).is_file():
                yield Event(row, seed, "finished before")
                continue
            absent = [f for f in _starts(study, output, row, seed).values() if not f.is_file()]
            if absent:
                yield Event(row, seed, "failed", f"there is no {absent[0]} to start from")
                continue
            folder = study.run_folder(output, row, seed)
            folder.mkdir(parents=True, exist_ok=True)
            write_json_aside(folder / SETTINGS, settings(study, output, row, seed))
            yield Event(row, seed, "started")
            status = training(row, options(study, output, row, seed), folder / LOG, num_gpus)
            if status in STOPS:
                yield Event(row, seed, "stopped")
                return
            if status == 0 and study.evaluation(output, row, seed).is_file():
                yield Event(row, seed, "finished")
            else:
                yield Event(row, seed, "failed", f"exit status {status}{_last_words(folder / LOG)}; see {folder / LOG}")


def _last_words(log: Path) -> str:
    """The last line of a run's log, which says what ended it, for a message; "" without one."""
    try:
        with log.open("rb") as file:
            file.seek(max(log.stat().st_size - 4096, 0))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    said = [line for line in lines if line.strip()]
    return f": {shortened(said[-1])}" if said else ""


def check_row(study: Study, row: Row) -> None:
    """Raises InputError where a row could be trained, and would have no figures for the table."""
    evaluated = [choice for choice in CHOICES if choice != "light"]  # after which there is no segmentation yet
    if row.stage not in evaluated:
        raise InputError(f"row '{row.name}': stage {row.stage!r} is not one of {', '.join(evaluated)}")
    tested = load_config(row.config, row.opts).DATASETS.TEST
    if study.dataset not in tested:
        raise InputError(
            f"row '{row.name}': is evaluated on {enumerate_some(tested) or 'nothing'} and not on {study.dataset}, "
            "which the study is about; add it to DATASETS.TEST, or change the study's dataset"
        )


def options(study: Study, output: Path, row: Row, seed: int) -> list[str]:
    """The KEY VALUE pairs of one run."""
    starts = [str(x) for pair in _starts(study, output, row, seed).items() for x in pair]
    return [*row.opts, *starts, "SEED", str(seed), "OUTPUT_DIR", str(study.run_folder(output, row, seed))]


def settings(study: Study, output: Path, row: Row, seed: int) -> dict[str, object]:
    """Every setting of a run by its dotted name, but for where it lies and runs: what a folder is known by."""
    known = settings_of(load_config(row.config, options(study, output, row, seed)), leave=PLACES)
    if row.weights:
        known["MODEL.WEIGHTS"] = f"those of {row.weights}"
    return known | {"image level of": row.image_level, "detector of": row.detector, "stage": row.stage}


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
    if changed := changed_settings(STARTS_ALONE | old, new):
        raise InputError(
            f"{path.parent}: was begun with other settings ({enumerate_some(changed, 3)}); delete the folder to run it "
            f"anew, delete {SETTINGS} in it to count it as it is, or give the row another name"
        )


def _starts(study: Study, output: Path, row: Row, seed: int) -> dict[str, Path]:
    """The checkpoints of earlier rows that a run starts from, by the key that names them."""
    counts = LAST if study.checkpoint == "last" else BEST
    starts = {
        "MODEL.WEIGHTS": (row.weights, counts),
        "STAGES.IMAGE_LEVEL": (row.image_level, BEST),
        "STAGES.DETECTOR": (row.detector, BEST),
    }
    rows = {other.name: other for other in study.rows}
    return {key: study.run_folder(output, rows[name], seed) / file for key, (name, file) in starts.items() if name}
