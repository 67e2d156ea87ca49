"""Work on many files at once, with a progress bar."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import cv2
from tqdm import tqdm

from nightlab.data import reading

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(
    work: Callable[[T], R], items: Sequence[T], title: str, workers: int | None, progress: bool
) -> Iterable[R]:
    """`work` of each item, in their order."""
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)  # threads, since decoders release the interpreter lock
    try:
        done = pool.map(work, items)
        yield from tqdm(done, desc=title, total=len(items), unit="file", disable=None if progress else True)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption need not wait for all files


def light_of(images: Mapping[str, Path], workers: int | None, progress: bool) -> dict[str, float]:
    """Mean luminance (Rec. 601, 0 to 255) of image files. Raises InputError where one cannot be read."""

    def mean(path: Path) -> float:
        return float(cv2.cvtColor(reading.read_image(path), cv2.COLOR_RGB2GRAY).mean())

    return dict(zip(images, in_parallel(mean, list(images.values()), "luminance", workers, progress), strict=True))
