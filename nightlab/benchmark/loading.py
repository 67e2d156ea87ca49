"""How many images a second the training data come at: reading, the mapper alone, and the loader with its workers."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import cv2
import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from nightlab.benchmark.cost import environment
from nightlab.data import catalog
from nightlab.data.mapper import read_pair
from nightlab.data.stage_data import LATER, StageData
from nightlab.engine.plan import stage_config, stages_of
from nightlab.engine.stages import hard_classes
from nightlab.errors import InputError


def loading(cfg: CfgNode, images: int) -> dict[str, Any]:
    """Images a second of what the stage MODEL.NIGHTLAB.STAGE trains on, each timed on about `images` of them.

    Returns:
        `reading` and `mapper` (which reads too, and draws what a light adaptation learns from) in one process on one
        thread, as a worker runs them; `loader` with its `workers`, whose start is not counted; `stage`, `images`,
        `batch`, `crop` (empty: whole frames) and `environment`.

    Raises:
        InputError: the data are not there, the configuration has no such stage, or its hard classes are not known.
    """
    catalog.register_cards(cfg.DATASETS.CARDS)
    stage = cfg.MODEL.NIGHTLAB.STAGE
    if stage not in stages_of(cfg):
        raise InputError(
            f"MODEL.NIGHTLAB.STAGE: {stage!r} is not one of this configuration's {', '.join(stages_of(cfg))}"
        )
    hard = _hard_classes(cfg) if stage in LATER else None
    cfg = stage_config(cfg, stage)
    data = StageData(cfg, hard)
    loader = data.loader(learns_light=build_model(cfg).learns_light)
    dataset: Any = loader.dataset
    batch = int(cfg.SOLVER.IMS_PER_BATCH)
    drawn = [divmod(place, batch) for place in range(images)]
    with _one_thread():
        reading = _rate(lambda position: read_pair(data.train[dataset.record_index(*position)]), drawn)
        mapper = _rate(dataset.__getitem__, drawn)
    batches = iter(loader)
    next(batches)
    # What the workers have prepared meanwhile is in stock; it must not be most of what is counted.
    stock = cfg.DATALOADER.NUM_WORKERS * (loader.prefetch_factor or 0)
    number = max(-(-images // batch), 1)
    for _ in islice(batches, stock):
        pass
    start = time.perf_counter()
    for _ in islice(batches, number):
        pass
    return {
        "images": images,
        "reading": reading,
        "mapper": mapper,
        "loader": number * batch / (time.perf_counter() - start),
        "workers": cfg.DATALOADER.NUM_WORKERS,
        "batch": batch,
        "stage": stage,
        "crop": _crop(cfg, stage),
        "environment": environment(torch.device("cpu")),
    }


def loading_table(report: Mapping[str, Any]) -> str:
    """The figures of `loading` for people."""
    seen = "crops of {}x{}".format(*report["crop"]) if report["crop"] else "whole frames"
    device = report["environment"]["device"]
    return "\n".join(
        [
            f"training data of stage {report['stage']}, {seen}, {report['images']} images; {device}",
            f"  reading alone, one process     {report['reading']:8.1f} images/s",
            f"  mapper alone, one process      {report['mapper']:8.1f} images/s",
            f"  loader, {report['workers']:2d} workers             {report['loader']:8.1f} images/s",
        ]
    )


def _hard_classes(cfg: CfgNode) -> list[bool]:
    """Those that crops and boxes are made around."""
    if not cfg.MODEL.NIGHTLAB.HARD_CLASSES and not cfg.MODEL.WEIGHTS:
        raise InputError(
            f"MODEL.NIGHTLAB.HARD_CLASSES: stage {cfg.MODEL.NIGHTLAB.STAGE} looks for hard classes; name some, or in "
            "MODEL.WEIGHTS a checkpoint that has found them"
        )
    return hard_classes(cfg, cfg.MODEL.WEIGHTS)


def _crop(cfg: CfgNode, stage: str) -> list[int]:
    """Height and width of a stage's crops; empty where it sees whole frames."""
    if stage in ("rdn", "hdm"):
        return []
    return list(cfg.MODEL.REGION.CROP_SIZE if stage == "region" else cfg.INPUT.CROP_SIZE)


def _rate(call: Callable[[tuple[int, int]], object], positions: list[tuple[int, int]]) -> float:
    """Calls a second; the first is made beforehand."""
    call(positions[0])
    start = time.perf_counter()
    for position in positions:
        call(position)
    return len(positions) / (time.perf_counter() - start)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside, OpenCV and torch compute as in a worker of the loader."""
    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
