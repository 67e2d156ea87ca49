"""All the costs of one configuration, as a dict and as a table."""

import platform
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from tabulate import tabulate
from torch import nn

from nightlab.benchmark.calls import build, forward, is_mixed, random_inputs, training_step
from nightlab.benchmark.macs import count_gmac
from nightlab.benchmark.timing import REST, Timing, peak_memory_mib, reset_peak_memory
from nightlab.engine.environment import versions
from nightlab.modeling.inference import how_tested, prepare, restore
from nightlab.modeling.light import Adaptation
from nightlab.modeling.nightlab import NightLab

# What is timed and counted apart from the rest, where a model has it, as paths inside the model.
COMPONENTS = {
    "light adaptation": "image_level.light",
    "backbone": "image_level.backbone",
    "decode head": "image_level.decode_head",
    "detector": "detector",
    "region level": "region_level",
}
SPREAD = ("median", "min", "max")


def benchmark(
    cfg: CfgNode,
    *,
    size: tuple[int, int],
    batch: int = 1,
    train: bool = False,
    repeats: int = 5,
    warmup: int = 1,
    regions: int | None = None,
    scaled: bool = False,
) -> dict[str, Any]:
    """What the model of `cfg` costs on MODEL.DEVICE, with random weights and random images of `size` (height, width).

    A forward pass runs as TEST.PRECISION and TEST.COMPILE say, and gives log-probabilities or, without RETURN_SCORES,
    labels.

    Args:
        train: also a training step of the stage MODEL.NIGHTLAB.STAGE, on images of `size` (crops, in stage "region").
        regions: of each image exactly so many, where the detector finds as many; by default at most MAX_REGIONS.
        scaled: the image level sees the frames as INPUT.IMAGE_SIZE says, and not as they are.

    Returns:
        Keys `size`, `batch`, `parameters`, `gmac` (10^9 multiply-adds of one image, by component, with `total`),
        `forward` and, with `train`, `training_step` (`Timing.to_json`,
        `peak_memory_mib` and `precision`), `environment`.
    """
    model = build(cfg, size, regions=regions, scaled=scaled)
    modules = components(model)
    inputs = random_inputs(cfg, size, batch)
    prepare(model, cfg)
    calls = {"forward": (forward(model, inputs), how_tested(cfg))}
    if train:
        amp = is_mixed(cfg, model)
        calls["training_step"] = (training_step(cfg, model, inputs, amp), "mixed" if amp else "float32")
    report: dict[str, Any] = {
        "size": list(size),
        "batch": batch,
        "parameters": count_parameters(model),
    }
    for name, (call, precision) in calls.items():
        reset_peak_memory(model.device)
        timing = Timing.of(call, model.device, modules=modules, repeats=repeats, warmup=warmup)
        report[name] = {
            **timing.to_json(),
            "peak_memory_mib": peak_memory_mib(model.device),
            "precision": precision,
        }
        restore(model)  # training and counting know nothing of it
    gmac = count_gmac(model, model.seen_size(size), {name: COMPONENTS[name] for name in modules})
    return {**report, "gmac": gmac, "environment": environment(model.device)}


def components(model: NightLab) -> dict[str, nn.Module]:
    """Those of `COMPONENTS` that a model has."""
    found = {name: attrgetter(path)(model) for name, path in COMPONENTS.items()}
    return {name: module for name, module in found.items() if module is not None}


def count_parameters(model: nn.Module) -> int:
    """Those that a forward pass has use for: of a light adaptation that learns, not the average of its weights too."""
    averages = [m.average for m in model.modules() if isinstance(m, Adaptation) and m.average is not None]
    return sum(p.numel() for p in model.parameters()) - sum(p.numel() for twin in averages for p in twin.parameters())


def environment(device: torch.device) -> dict[str, Any]:
    """Where the figures come from: device, threads, versions."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), **versions()},
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def report_table(report: Mapping[str, Any]) -> str:
    """The figures of `benchmark` for people: one row for each component, one column for each kind of cost."""
    height, width = report["size"]
    where = report["environment"]
    timed = {name: report[name] for name in ("forward", "training_step") if name in report}
    headers = ["", "GMAC an image"]
    headers += [
        f"{n.replace('_', ' ')} [s], {figures['precision']}, median (least to most)" for n, figures in timed.items()
    ]
    parts = dict.fromkeys(name for figures in timed.values() for name in figures["parts_median_s"] if name != REST)
    rows = [
        [part, _figure(report["gmac"].get(part)), *(_part(figures, part) for figures in timed.values())]
        for part in [*parts, REST]
    ]
    rows.append(["total", _figure(report["gmac"]["total"])])
    rows[-1] += [_seconds(*(figures[f"{key}_s"] for key in SPREAD)) for figures in timed.values()]
    rows.append(["peak memory [MiB]", "", *(_figure(figures["peak_memory_mib"], 0) for figures in timed.values())])
    return "\n".join(
        [
            f"{height}x{width}, batch {report['batch']}, {report['forward']['repeats']} repeats, "
            f"{report['parameters'] / 1e6:.2f} M parameters",
            f"{where['device']}, {where['threads']} threads; "
            + ", ".join(f"{name} {version}" for name, version in where["versions"].items()),
            tabulate(rows, headers=headers, tablefmt="simple", disable_numparse=True, stralign="right"),
        ]
    )


def _part(figures: Mapping[str, Any], part: str) -> str:
    """Seconds of a part as text; empty where it has none."""
    found = [figures[f"parts_{key}_s"].get(part) for key in SPREAD]
    return "" if None in found else _seconds(*found)


def _seconds(median: float, least: float, most: float) -> str:
    return f"{median:.3f} ({least:.3f} to {most:.3f})"


def _figure(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}f}"
