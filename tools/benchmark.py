"""Measures what a configuration costs: parameters, GMAC, time of a forward and a training step by component, memory.

    python tools/benchmark.py --config-file configs/nightcity/upernet_swin_tiny.yaml --size 512 1024 --train
    python tools/benchmark.py --config-file CFG --json cost.json MODEL.DEVICE cpu
    python tools/benchmark.py --config-file CFG --size 1024 2048 --scaled --regions 5
    python tools/benchmark.py --config-file CFG --size 512 1024 --peer transformers --json cost.json
    python tools/benchmark.py --config-file CFG --vary "SOLVER.IMS_PER_BATCH 1 2" --vary "SOLVER.AMP.ENABLED True False"
    python tools/benchmark.py --config-file CFG --exported model.onnx MODEL.WEIGHTS model_final.pth
    python tools/benchmark.py --config-file CFG --loader 200 MODEL.NIGHTLAB.STAGE image

Weights are random: nothing is downloaded. A peer is another library's model with the same weights, run in turns with
ours from images to logits of their size; the JSON then has time_ratio, gmac_ratio and max_relative_difference, ours
over the peer's. With --vary, time and peak memory of a training step alone, for every combination of the values, at the
sizes that the configuration trains on. A file of tools/export.py runs in turns with the model that it was made of, from
frame to labels; the JSON then has `exported`. Time and memory mean something on an otherwise idle machine only.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode

from nightlab.api import load_exported
from nightlab.arguments import file_to_write, not_negative, positive
from nightlab.benchmark import (
    PEERS,
    Axis,
    benchmark,
    compare_with_exported,
    compare_with_peer,
    exported_table,
    grid_rows,
    loading,
    loading_table,
    measure_grid,
    peer_table,
    report_table,
)
from nightlab.config import load_config
from nightlab.errors import exits_on_input_error
from nightlab.files import write_json


@exits_on_input_error("benchmark.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    if options.vary:
        return _vary(options)
    cfg = load_config(options.config_file, options.opts)
    if options.loader:
        report = loading(cfg, options.loader)
        print(f"{options.config_file}\n{loading_table(report)}")
    else:
        report = _model(cfg, options)
    if options.json:
        write_json(options.json, {"config": options.config_file, **report})
    return 0


def _model(cfg: CfgNode, options: argparse.Namespace) -> dict[str, Any]:
    """What the model costs, alone and beside a peer, printed as soon as it is known."""
    size = tuple(options.size or cfg.INPUT.CROP_SIZE)
    # As many threads as torch has; now, and not after the first measurement, since it may be no such file.
    exported = load_exported(options.exported, threads=torch.get_num_threads()) if options.exported else None
    count = {"batch": options.batch or 1, "repeats": options.repeats, "warmup": options.warmup}
    report = benchmark(cfg, size=size, train=options.train, regions=options.regions, scaled=options.scaled, **count)
    print(f"{options.config_file}\n{report_table(report)}")
    if options.peer:
        report |= compare_with_peer(cfg, options.peer, size=size, **count)
        print(peer_table(report))
    if exported:
        report |= compare_with_exported(cfg, exported, repeats=options.repeats, warmup=options.warmup)
        print(exported_table(report))
    return report


def _vary(options: argparse.Namespace) -> int:
    """Prints each row of the grid as soon as it is measured, and has all of them so far in the JSON file."""
    axes = [Axis.parse(text) for text in options.vary]
    rows: list[dict[str, Any]] = []

    def kept() -> Iterator[dict[str, Any]]:
        given = {"size": options.size, "repeats": options.repeats, "warmup": options.warmup}
        for row in measure_grid(options.config_file, options.opts, axes, **given):
            rows.append(row)
            if options.json:
                write_json(options.json, {"config": options.config_file, "rows": rows})
            yield row

    for line in grid_rows(axes, kept()):
        print(line, flush=True)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CFG")
    parser.add_argument(
        "--size", nargs=2, type=positive, metavar=("H", "W"), help="of the images (default: INPUT.CROP_SIZE)"
    )
    parser.add_argument(
        "--scaled",
        action="store_true",
        help="the image level sees them as INPUT.IMAGE_SIZE says (default: as they are)",
    )
    parser.add_argument("--batch", type=positive, metavar="N", help="images in a call (default: 1)")
    parser.add_argument("--train", action="store_true", help="time a training step too")
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="timed calls (default: 5)")
    parser.add_argument("--warmup", type=not_negative, default=1, metavar="N", help="calls before those (default: 1)")
    parser.add_argument("--regions", type=not_negative, metavar="N", help="an image (default: at most MAX_REGIONS)")
    parser.add_argument(
        "--vary",
        action="append",
        metavar='"KEY VALUE ..."',
        help="measure a training step for each of these values; may be given several times",
    )
    parser.add_argument("--peer", choices=sorted(PEERS), help="compare the image level with this library's model")
    parser.add_argument(
        "--exported", type=Path, metavar="FILE", help="compare the model of MODEL.WEIGHTS with this file made of it"
    )
    parser.add_argument(
        "--loader", type=positive, metavar="N", help="time the data of MODEL.NIGHTLAB.STAGE instead, N images"
    )
    parser.add_argument("--json", type=file_to_write, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides of the configuration")
    options = parser.parse_args(arguments)
    given = {
        "--batch": options.batch,
        "--regions": options.regions is not None,
        "--peer": options.peer,
        "--scaled": options.scaled,
        "--exported": options.exported,
    }
    others = {
        "--vary": given | {"--loader": options.loader},
        "--loader": given | {"--train": options.train},
        "--peer": {"--scaled": options.scaled},
    }
    for kind, what in (
        ("--vary", "training steps of SOLVER.IMS_PER_BATCH images"),
        ("--loader", "the training data"),
        ("--peer", "the image level on images as they are"),
    ):
        strangers = [name for name, value in others[kind].items() if value]
        if getattr(options, kind.removeprefix("--")) and strangers:
            parser.error(f"{kind} measures {what}, without {', '.join(strangers)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
