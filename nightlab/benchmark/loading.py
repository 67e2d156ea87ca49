"""How many images a second the training data come at: reading, the mapper alone, and the loader with its workers."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import cv2
import torch
from detectron2.config import CfgNode

from nightlab.benchmark.cost import environment
from nightlab.data import catalog
from nightlab.data.held_out import split_records
from nightlab.data.loader import build_train_loader
from nightlab.data.mapper import read_pair


def loading(cfg: CfgNode, images: int) -> dict[str, Any]:
    """Images a second of the image level's training on DATASETS.TRAIN, each timed on about `images` of them.

    Returns:
        `reading` and `mapper` (which reads too) in one process on one thread, as a worker runs them; `loader` with its
        `workers`, whose start is not counted; `images`, `batch`, `crop` and `environment`.

    Raises:
        InputError: the data are not there.
    """
    catalog.register_cards(cfg.DATASETS.CARDS)
    records, _ = split_records(cfg)
    loader = build_train_loader(cfg, records)
    dataset: Any = loader.dataset
    batch = int(cfg.SOLVER.IMS_PER_BATCH)
    drawn = [divmod(place, batch) for place in range(images)]
    with _one_thread():
        reading = _rate(lambda position: read_pair(records[dataset.record_index(*position)]), drawn)
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
        "crop": list(cfg.INPUT.CROP_SIZE),
        "environment": environment(torch.device("cpu")),
    }


def loading_table(report: Mapping[str, Any]) -> str:
    """The figures of `loading` for people."""
    height, width = report["crop"]
    return "\n".join(
        [
            f"training data, crops of {height}x{width}, {report['images']} images; {report['environment']['device']}",
            f"  reading alone, one process     {report['reading']:8.1f} images/s",
            f"  mapper alone, one process      {report['mapper']:8.1f} images/s",
            f"  loader, {report['workers']:2d} workers             {report['loader']:8.1f} images/s",
        ]
    )


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
