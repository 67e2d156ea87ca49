"""Time and peak memory of a training step over a grid of settings: what fits on a card."""

import gc
import itertools
import multiprocessing
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, NamedTuple

import torch
from detectron2.config import CfgNode

from nightlab.benchmark.calls import build, is_mixed, random_inputs, training_step
from nightlab.benchmark.timing import Timing, peak_memory_mib, reset_peak_memory
from nightlab.config import load_config
from nightlab.errors import InputError
from nightlab.modeling.regions import Size


class Axis(NamedTuple):
    """A key of the configuration and the values that it takes in turn."""

    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Axis":
        """From "KEY VALUE VALUE ...", quoted as in a shell where values have blanks.

        Raises:
            InputError: there is no value.
        """
        key, *values = shlex.split(text) or [""]
        if not values:
            raise InputError(f'--vary "{text}": give a key and its values, as "SOLVER.IMS_PER_BATCH 1 2 4"')
        return cls(key, tuple(values))


def measure_grid(
    config: str,
    opts: Sequence[str],
    axes: Sequence[Axis],
    *,
    size: Size | None = None,
    repeats: int = 5,
    warmup: int = 1,
) -> Iterator[dict[str, Any]]:
    """For every combination of the axes' values: those by key, with what `training_cost` finds. The batch is
    SOLVER.IMS_PER_BATCH; where memory does not suffice, `fault` says so in place of the figures.

    On a CPU each is measured in a process of its own, whose peak can only rise.
    """
    for values in itertools.product(*(axis.values for axis in axes)):
        varied = dict(zip((axis.key for axis in axes), values, strict=True))
        cfg = load_config(config, [*opts, *itertools.chain.from_iterable(varied.items())])
        measure: Callable[..., dict[str, Any]] = _or_fault if cfg.MODEL.DEVICE.startswith("cuda") else _in_own_process
        yield {**varied, **measure(cfg, size or _trained_size(cfg), repeats, warmup)}


def training_cost(cfg: CfgNode, size: Size, repeats: int, warmup: int) -> dict[str, Any]:
    """`batch`, `size`, `precision`, `median_s` of a training step of SOLVER.IMS_PER_BATCH images, `images_per_s` and
    `peak_memory_mib` (see `timing.peak_memory_mib`)."""
    batch = cfg.SOLVER.IMS_PER_BATCH
    if batch < 1:
        raise InputError(f"SOLVER.IMS_PER_BATCH: {batch} is no number of images; take 1 or more")
    model = build(cfg, size)
    amp = is_mixed(cfg, model)
    reset_peak_memory(model.device)
    call = training_step(cfg, model, random_inputs(cfg, size, batch), amp)
    seconds = Timing.of(call, model.device, repeats=repeats, warmup=warmup).median
    return {
        "batch": batch,
        "size": list(size),
        "precision": "mixed" if amp else "float32",
        "median_s": seconds,
        "images_per_s": batch / seconds,
        "peak_memory_mib": peak_memory_mib(model.device),
    }


def _trained_size(cfg: CfgNode) -> Size:
    """What a training step of the stage sees: crops or, in the detector's stages, frames."""
    stage = cfg.MODEL.NIGHTLAB.STAGE
    size = cfg.MODEL.REGION.CROP_SIZE if stage == "region" else cfg.INPUT.CROP_SIZE
    if stage in ("rdn", "hdm") and all(cfg.INPUT.IMAGE_SIZE):
        size = cfg.INPUT.IMAGE_SIZE
    return size[0], size[1]


def _or_fault(cfg: CfgNode, size: Size, repeats: int, warmup: int) -> dict[str, Any]:
    gc.collect()
    torch.cuda.empty_cache()  # of what was measured before
    try:
        return training_cost(cfg, size, repeats, warmup)
    except torch.cuda.OutOfMemoryError:
        return {"fault": "out of memory"}


def _in_own_process(*args: Any) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(training_cost, *args).result()
        except BrokenProcessPool:
            return {"fault": "killed, as for lack of memory"}


def grid_rows(axes: Sequence[Axis], rows: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    """Lines of a table of `measure_grid`, each as soon as it is measured."""
    figures: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "HxW": lambda row: "{}x{}".format(*row["size"]),
        "step [s]": lambda row: f"{row['median_s']:.3f}",
        "images/s": lambda row: f"{row['images_per_s']:.2f}",
        "peak [MiB]": lambda row: f"{row['peak_memory_mib']:.0f}",
    }
    widths = [max(map(len, (axis.key, *axis.values))) for axis in axes]
    names = [axis.key.ljust(width) for axis, width in zip(axes, widths, strict=True)]
    yield "  ".join([*names, *(name.rjust(10) for name in figures)])
    for row in rows:
        values = [row[axis.key].ljust(width) for axis, width in zip(axes, widths, strict=True)]
        found = [row["fault"]] if "fault" in row else [show(row).rjust(10) for show in figures.values()]
        yield "  ".join([*values, *found])
