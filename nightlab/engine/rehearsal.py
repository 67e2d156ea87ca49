"""A rehearsal: every stage of a configuration at its full size, a few iterations each, on made scenes; what each costs.

Start weights are random and data are drawn, so that it needs no file.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from tabulate import tabulate

from nightlab.benchmark.timing import peak_memory_mib, reset_peak_memory, synchronize
from nightlab.data import catalog
from nightlab.data.cityscapes import CLASSES
from nightlab.data.nightstreet import NightStreet
from nightlab.data.nightstreet.render import Scene, Time, render
from nightlab.engine.plan import stage_config, stages_of
from nightlab.errors import InputError

FRAMES = 4
# Which classes are hard; after a few iterations all of them would be.
HARD_CLASSES = ["pole", "traffic light", "traffic sign", "person", "rider", "motorcycle", "bicycle"]


@dataclass(frozen=True)
class FewScenes(NightStreet):
    """The first scenes of each split of NightStreet, each drawn once: that takes longer than reading a file would."""

    def records(self, split: str) -> list[dict[str, Any]]:
        return super().records(split)[:FRAMES]

    def _scene(self, record: dict[str, Any]) -> Scene:
        scene = record["scene"]
        return _kept(scene["seed"], self.size, scene["time"])


@cache
def _kept(seed: int, size: tuple[int, int], time: Time) -> Scene:
    """Not kept by the source, which goes into every record and with it to the workers."""
    return render(seed, size, time)


def rehearsal_config(cfg: CfgNode, *, iterations: int, batch: int, output: str) -> CfgNode:
    """The configuration with made scenes for data, random start weights and `iterations` for every stage.

    Raises:
        InputError: it is one of other classes than those of the scenes, or does not say how large its frames are.
    """
    own = cfg.clone()
    own.defrost()
    if own.MODEL.SEM_SEG_HEAD.NUM_CLASSES != len(CLASSES) or not all(own.INPUT.IMAGE_SIZE):
        raise InputError(
            f"the made scenes have {len(CLASSES)} classes and the size of INPUT.IMAGE_SIZE; rehearse a configuration "
            f"of Cityscapes' classes, with MODEL.SEM_SEG_HEAD.NUM_CLASSES {len(CLASSES)} and such a size"
        )
    height, width = own.INPUT.IMAGE_SIZE
    name = f"rehearsal_{height}x{width}"
    catalog.register_source(FewScenes(name=name, size=(height, width)))
    data = own.DATASETS
    data.TRAIN, data.VAL, data.TEST = (f"{name}_night_train",), (f"{name}_night_val",), ()
    data.DAY, data.NIGHT, data.TRAIN_WEIGHTS = (f"{name}_day_train",), (), []
    own.MODEL.WEIGHTS = own.MODEL.TIMM.WEIGHTS = own.MODEL.HARDNESS.TIMM.WEIGHTS = ""
    own.STAGES.IMAGE_LEVEL = own.STAGES.DETECTOR = ""
    own.MODEL.NIGHTLAB.HARD_CLASSES = HARD_CLASSES
    # No checkpoint before the last, and validation once, after it.
    schedule = {"MAX_ITER": iterations, "IMS_PER_BATCH": batch, "CHECKPOINT_PERIOD": iterations + 1, "WARMUP_ITERS": 1}
    for solver in (own.SOLVER, *(node for node in own.STAGES.values() if isinstance(node, CfgNode))):
        solver.update(schedule)
    own.SOLVER.LOG_PERIOD = 1
    own.TEST.EVAL_PERIOD = 0
    own.OUTPUT_DIR = output
    own.freeze()
    return own


def draw_scenes(cfg: CfgNode) -> None:
    """Draws the scenes of a `rehearsal_config` before the workers of its loaders are there, which then need not."""
    for names in (cfg.DATASETS.TRAIN, cfg.DATASETS.VAL, cfg.DATASETS.DAY):
        for record in catalog.load(names):
            record["source"].read_image(record)


@dataclass
class Cost:
    """What the steps of a stage took: seconds of each, without those in which it waited for data, and these; the most
    memory in MiB during any of them; and how many of them AMP skipped since its scale was too large at first."""

    seconds: list[float] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    peak_mib: float = 0.0
    skipped: int = 0

    @staticmethod
    def typical(seconds: list[float]) -> float:
        """The median, but for the first step, which allocates, chooses kernels and waits for the workers to start."""
        return statistics.median(seconds[1:] or seconds)


class WatchCosts(HookBase):
    """Takes down what the steps of every stage cost; needs SOLVER.LOG_PERIOD 1."""

    def __init__(self, device: str):
        self.device = torch.device(device)
        self.stages: dict[str, Cost] = {}
        self._start = self._scale = 0.0

    def before_step(self) -> None:
        self._scale = self.trainer._trainer.grad_scaler.get_scale()
        synchronize(self.device)
        reset_peak_memory(self.device)
        self._start = time.perf_counter()

    def after_step(self) -> None:
        synchronize(self.device)
        seconds = time.perf_counter() - self._start
        cost = self.stages.setdefault(self.trainer.stage, Cost())
        waited = self.trainer.storage.latest().get("data_time", (0.0, 0))[0]
        cost.seconds.append(seconds - waited)
        cost.waited.append(waited)
        cost.peak_mib = max(cost.peak_mib, peak_memory_mib(self.device))
        cost.skipped += self.trainer._trainer.grad_scaler.get_scale() < self._scale


def costs_by_stage(cfg: CfgNode, rehearsed: CfgNode, costs: Mapping[str, Cost]) -> list[dict[str, Any]]:
    """What each stage of `cfg` cost in its rehearsal, and the hours that its whole schedule would take on one device.

    The hours are those of the steps alone, for as many images as `cfg` asks for.
    """
    found = []
    for stage in stages_of(cfg):
        if stage not in costs:
            continue
        solver, cost = stage_config(cfg, stage).SOLVER, costs[stage]
        batch, iteration = rehearsed.SOLVER.IMS_PER_BATCH, cost.typical(cost.seconds)
        hours = solver.MAX_ITER * solver.IMS_PER_BATCH / batch * iteration / 3600
        entry = {"stage": stage, "batch": batch, "first_s": cost.seconds[0], "iteration_s": iteration}
        entry |= {"waited_s": cost.typical(cost.waited)}
        entry |= {"peak_mib": cost.peak_mib, "steps": len(cost.seconds), "skipped_by_amp": cost.skipped}
        found.append(entry | {"iterations": solver.MAX_ITER, "images": solver.IMS_PER_BATCH, "hours": hours})
    return found


def costs_table(costs: list[dict[str, Any]]) -> str:
    """The costs for people, one row a stage."""
    rows = [
        [
            c["stage"],
            f"{c['first_s']:.2f}",
            f"{c['iteration_s']:.2f}",
            f"{c['waited_s']:.2f}",
            f"{c['peak_mib']:.0f}",
            f"{c['steps'] - c['skipped_by_amp']} of {c['steps']}",
            f"{c['iterations']} x {c['images']}",
            f"{c['hours']:.1f}",
        ]
        for c in costs
    ]
    rows.append(["all", *[""] * 6, f"{sum(c['hours'] for c in costs):.1f}"])
    headers = ["stage", "first [s]", "iteration [s]", "waiting [s]", "peak [MiB]"]
    headers += ["steps taken", "whole schedule", "device hours"]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True, stralign="right")
