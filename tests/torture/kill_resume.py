#!/usr/bin/env python
"""Kill a staged training with SIGKILL again and again, resume it, and compare it with an undisturbed one, bit for bit.

python tests/torture/kill_resume.py --rounds 3 --kills 4

A round is one training on a tiny made data set, on the CPU: in each stage and in the evaluation at the end it is killed
`--kills` times, at moments drawn from nine tenths of the time which that part takes undisturbed. Then it is resumed to
its end, and every checkpoint that the undisturbed run left must be there with the same weights, optimiser state and
iteration, and every evaluation with the same figures. Processes are forked, so that only the first imports anything.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from nightlab.engine.run import run

# What a run goes through, with all stages or with the image level alone; each part can be killed in.
PARTS = ("light", "adapt", "image", "region", "rdn", "hdm", "evaluation")
IMAGE_LEVEL = ("image", "evaluation")
CONFIG = """
_BASE_: "{base}"
MODEL:
  DEVICE: cpu
  SEM_SEG_HEAD: {{CONVS_DIM: 16, NUM_CLASSES: 3}}
  AUX_HEAD: {{CONVS_DIM: 8}}
  NIGHTLAB: {{HARD_CLASSES: ["dark", "grey"], MAX_REGIONS: 3}}
  REGION: {{ENABLED: {staged}, CROP_SIZE: [32, 32], MIN_AREA: 4}}
  HARDNESS: {{LABELS: "{labels}", CONVS_DIM: 32, CANDIDATES: 9}}
  ANCHOR_GENERATOR: {{SIZES: [[32]]}}
  LIGHT: {{NAME: "{light}", TRAIN: first, CHANNELS: 8}}
  ADAPT: {{ENABLED: {staged}, DISCRIMINATOR_CHANNELS: 8}}
DATASETS:
  CARDS: ["{card}"]
  TRAIN: ("torture_train",)
  VAL: ("torture_val",)
  TEST: ("torture_test",)
  DAY: ("torture_test",)
INPUT: {{IMAGE_SIZE: [48, 96], CROP_SIZE: [48, 96]}}
SOLVER: {{IMS_PER_BATCH: 2, MAX_ITER: {iterations}, WARMUP_ITERS: 1, CHECKPOINT_PERIOD: 2, LOG_PERIOD: 1,
  BASE_LR: 0.001}}
STAGES:
  LIGHT: {{EVAL_PERIOD: 3}}
  ADAPT: {{EVAL_PERIOD: 3}}
  REGION: {{EVAL_PERIOD: 3}}
  RDN: {{EVAL_PERIOD: 3}}
  HDM: {{EVAL_PERIOD: 3}}
TEST: {{EVAL_PERIOD: 3, PICTURES: 1, HARDNESS_IMAGES: 1}}
DATALOADER: {{NUM_WORKERS: {workers}}}
OUTPUT_DIR: "none"
VERSION: 2
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 1 where a run came to another end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kills", type=int, default=1, help="in each part of a round")
    parser.add_argument("--image-level", action="store_true", help="train the image level alone")
    parser.add_argument("--iterations", type=int, default=15, help="of each stage")
    parser.add_argument("--workers", type=int, default=0, help="of the data loader")
    parser.add_argument("--tear", action="store_true", help="after every second kill, cut off the last checkpoint")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a folder to keep; without one, nothing is kept")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        return torture(options, options.output or Path(folder))


def torture(options: Namespace, output: Path) -> int:
    parts = IMAGE_LEVEL if options.image_level else PARTS
    config = make_data(output, options)
    torch.set_num_threads(1)
    spent = undisturbed(config, output / "whole", parts)
    print("undisturbed: " + ", ".join(f"{part} {spent[part]:.1f} s" for part in parts), flush=True)
    draw = random.Random(options.seed)
    every: Counter[str] = Counter()
    differing = 0
    for number in range(options.rounds):
        folder, killed = output / f"killed_{number}", Counter[str]()
        for part in parts:
            for turn in range(options.kills):
                killed[kill_in(part, config, folder, draw.uniform(0, 0.9 * spent[part]), parts)] += 1
                if options.tear and turn % 2:
                    killed["torn checkpoints"] += tear_last(folder, draw, parts)
        wait_for(start(config, folder), folder)
        differences = compare(output / "whole", folder)
        differing += bool(differences)
        print(f"round {number}: {told(killed)}: " + ("; ".join(differences) or "equal, bit for bit"), flush=True)
        every += killed
    print(f"all rounds: {told(every)}")
    print(f"{options.rounds - differing} of {options.rounds} rounds ended as the undisturbed run")
    return 1 if differing else 0


def told(killed: Counter[str]) -> str:
    """How often a run was killed in what; "finished": it had ended before the moment came."""
    return "killed in " + ", ".join(f"{part} {number}" for part, number in killed.items())


def make_data(output: Path, options: Namespace) -> Path:
    """A card with 8 images of 3 classes (the class is the brightness), and the configuration; returns the latter."""
    root = output / "data" / "torture"
    draw = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name in ("a0", "a1", "a2", "a3", "b0", "b1", "b2", "c0"):
        label = np.repeat(np.repeat(draw.integers(0, 3, (5, 9)), 8, 0), 8, 1).astype(np.uint8)
        image = (80 * label[..., None] + draw.integers(0, 20, (*label.shape, 3))).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(label).save(root / "labels" / f"{name}.png")
    named = {"train": "a", "val": "b", "test": "c"}
    splits = [f'  {split}: {{glob: "images/{letter}*.png"}}' for split, letter in named.items()]
    lines = ["name: torture", "images: images/{id}.png", "labels: labels/{id}.png", "classes: [dark, grey, bright]"]
    card = output / "torture.yaml"
    card.write_text("\n".join([*lines, "splits:", *splits, ""]))
    os.environ["DETECTRON2_DATASETS"] = str(root.parent)
    base = Path(__file__).resolve().parents[2] / "configs" / "backbones" / "swin_nano.yaml"
    config = output / "config.yaml"
    settings = {"base": base, "card": card, "iterations": options.iterations, "workers": options.workers}
    staged = {"staged": not options.image_level}
    staged |= {"labels": "", "light": ""} if options.image_level else {"labels": "hdm", "light": "relam"}
    config.write_text(CONFIG.format(**settings, **staged))
    return config


def start(config: Path, folder: Path) -> int:
    """The process of a run, resumed where there is something to resume; its output goes to `folder`.txt."""
    pid = os.fork()
    if pid:
        return pid
    log = os.open(f"{folder}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    status = 1
    try:
        opts = ["OUTPUT_DIR", str(folder)]
        run(Namespace(config_file=str(config), opts=opts, eval_only=False, resume=folder.exists(), stage="all"))
        status = 0
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(status)


def part_of(folder: Path, parts: Sequence[str]) -> str:
    """What a run is at, by what it has written."""
    if (folder / "model_final.pth").is_file():
        return parts[-1]
    begun = [part for part in parts if (folder / "stages" / part).is_dir()]
    return begun[-1] if begun else parts[0]


def undisturbed(config: Path, folder: Path, parts: Sequence[str]) -> dict[str, float]:
    """Runs once without being disturbed; returns the seconds that each part took."""
    pid, spent, last = start(config, folder), dict.fromkeys(parts, 0.0), time.monotonic()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        time.sleep(0.02)
        now = time.monotonic()
        spent[part_of(folder, parts)] += now - last
        last = now
    if not (folder / "report.html").is_file():
        raise SystemExit(f"the undisturbed run failed: {last_line(folder)}")
    return spent


def wait_for(pid: int, folder: Path) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"the resumed run failed: {last_line(folder)}")


def last_line(folder: Path) -> str:
    """Of what a run has said."""
    return Path(f"{folder}.txt").read_text().splitlines()[-1]


def kill_in(part: str, config: Path, folder: Path, after: float, parts: Sequence[str]) -> str:
    """Kills a run `after` seconds from when it is at `part` (or beyond); returns what it was at, or "finished"."""
    pid, begun = start(config, folder), None
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if begun is None and parts.index(part_of(folder, parts)) >= parts.index(part):
            begun = time.monotonic()
        if begun is not None and time.monotonic() - begun >= after:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return part_of(folder, parts)
        time.sleep(0.02)
    return "finished"


def tear_last(folder: Path, draw: random.Random, parts: Sequence[str]) -> int:
    """Cuts off the last checkpoint of the stage under way, if there is one before it; returns how many."""
    stage = folder / "stages" / part_of(folder, parts) if parts == PARTS else folder
    periodic = sorted(stage.glob("model_0*.pth"))
    tagged = stage / "last_checkpoint"
    if len(periodic) < 2 or not tagged.is_file() or tagged.read_text() != periodic[-1].name:
        return 0
    os.truncate(periodic[-1], draw.randrange(periodic[-1].stat().st_size))
    return 1


def compare(whole: Path, folder: Path) -> list[str]:
    """The checkpoints and evaluations of the first run that the second has otherwise, by their names."""
    differing = []
    for path in sorted(whole.rglob("model_*.pth")):
        twin = folder / path.relative_to(whole)
        same = twin.is_file() and equal(torch.load(path, weights_only=True), torch.load(twin, weights_only=True))
        if not same:
            differing.append(f"{path.relative_to(whole)} differs")
    for path in sorted(whole.glob("evaluation/*/*.json")):
        results = [json.loads((run / path.relative_to(whole)).read_text())["results"] for run in (whole, folder)]
        if json.dumps(results[0]) != json.dumps(results[1]):
            differing.append(f"{path.relative_to(whole)} differs")
    return differing


def equal(first: Any, second: Any) -> bool:
    """Whether two checkpoints hold the same, tensors bit for bit."""
    if isinstance(first, dict):
        return (
            isinstance(second, dict)
            and first.keys() == second.keys()
            and all(equal(first[k], second[k]) for k in first)
        )
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


if __name__ == "__main__":
    sys.exit(main())
