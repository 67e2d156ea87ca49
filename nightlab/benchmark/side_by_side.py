"""Our image level and a peer with the same weights, in alternating runs: time, multiply-adds and outputs."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from nightlab.benchmark.macs import Count, ImageLevel
from nightlab.benchmark.peers import build_peer, windows_of
from nightlab.benchmark.timing import Timing
from nightlab.modeling import NightLab
from nightlab.modeling.inference import PRECISIONS, how_tested, in_precision, prepare, restore


def compare_with_peer(
    cfg: CfgNode, name: str, *, size: tuple[int, int], batch: int = 1, repeats: int = 5, warmup: int = 1
) -> dict[str, Any]:
    """Ours over the peer's, from images of `size` (height, width) to logits of that size, on MODEL.DEVICE.

    Both run as TEST.PRECISION and TEST.COMPILE say.

    Returns:
        `time_ratio` (of the medians), `gmac_ratio`, `max_relative_difference` (of the logits, as a share of the
        peer's largest) and `peer`: its name, version, seconds of both sides, GMAC of both, the least and most of the
        ratios of neighbouring runs.

    Raises:
        InputError: the peer is not installed or has no such model.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.TIMM.WINDOWS = windows_of(name)  # or it would be another function
    model: NightLab = build_model(cfg).eval()
    peer = build_peer(name, cfg, model)
    level = ImageLevel(model.image_level).eval()
    frames = 255 * torch.rand(batch, 3, *size, device=model.device)
    images = (frames - model.image_level.pixel_mean) / model.image_level.pixel_std
    prepare(model, cfg)
    if cfg.TEST.COMPILE:
        peer.model.__dict__["forward"] = torch.compile(peer.model.forward, backend=cfg.TEST.COMPILE, dynamic=False)
    with torch.no_grad(), in_precision(peer.model, PRECISIONS[cfg.TEST.PRECISION], model.device):
        theirs = peer.to_logits(images)
        ours = level(frames) if peer.full_size else model.image_level(frames).logits
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        del ours, theirs
        runs: dict[str, Callable[[], object]] = {"ours": lambda: level(frames), "theirs": lambda: peer.model(images)}
        seconds = alternate(runs, model.device, repeats=repeats, warmup=warmup)
    restore(model)
    peer.model.__dict__.pop("forward", None)
    counted: dict[str, tuple[nn.Module, torch.Tensor]] = {"ours": (level, frames), "theirs": (peer.to_logits, images)}
    gmac = {side: Count(module, x[:1]).total / 1e9 for side, (module, x) in counted.items()}
    times = compared(seconds)
    return {
        "time_ratio": times.pop("time_ratio"),
        "gmac_ratio": gmac["ours"] / gmac["theirs"],
        "max_relative_difference": difference,
        "peer": {
            "name": peer.name,
            "version": peer.version,
            "precision": how_tested(cfg),
            **times,
            "gmac": gmac,
            "compared": "full-size logits" if peer.full_size else "logits at stride 4",
        },
    }


def alternate(
    calls: Mapping[str, Callable[[], object]], device: torch.device, *, repeats: int, warmup: int
) -> dict[str, list[float]]:
    """Seconds of every call, taken in turns whose order is reversed every time, after `warmup` turns untimed."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for turn in range(-warmup, repeats):
        for name in names if turn % 2 == 0 else reversed(names):
            call = calls[name]
            timing = Timing.of(lambda _, c=call: c(), device, repeats=1, warmup=0)  # type: ignore[misc]
            if turn >= 0:
                seconds[name].append(timing.median)
    return seconds


def compared(seconds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Of two sides run in turns, the first over the second: the ratio of the medians, and of neighbouring runs the
    least and most."""
    ours, theirs = seconds.values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return {
        "median_s": {side: statistics.median(values) for side, values in seconds.items()},
        "repeats": len(ratios),
        "time_ratio": statistics.median(ours) / statistics.median(theirs),
        "time_ratio_least": min(ratios),
        "time_ratio_most": max(ratios),
    }


def peer_table(report: Mapping[str, Any]) -> str:
    """What `compare_with_peer` found, for people."""
    peer = report["peer"]
    seconds, gmac = peer["median_s"], peer["gmac"]
    spread = f"{peer['time_ratio_least']:.3f} to {peer['time_ratio_most']:.3f}"
    return "\n".join(
        [
            f"beside {peer['name']} {peer['version']}: image level, same weights, {peer['precision']}, "
            f"{peer['repeats']} runs in turns",
            f"  time    {seconds['ours']:.3f} s, theirs {seconds['theirs']:.3f}: {report['time_ratio']:.3f}, {spread}",
            f"  GMAC    {gmac['ours']:.1f}, theirs {gmac['theirs']:.1f}: {report['gmac_ratio']:.3f}",
            f"  {peer['compared']} differ by at most {report['max_relative_difference']:.1e} of the largest",
        ]
    )
