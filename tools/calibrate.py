#!/usr/bin/env python
"""Fits the calibration of a checkpoint on held-out images, and writes a checkpoint that carries it.

    python tools/calibrate.py --config-file CFG --weights model_final.pth [--output FILE] [KEY VALUE ...]

A temperature for each level, and a line that makes the detector's scores probabilities of gain; a bias for each class
of the image level, and the weights of both levels, where each half of the images gains mIoU by what the other says.
They are fitted on at most TEST.CALIBRATION_IMAGES images of DATASETS.VAL (or of the held-out share of TRAIN); images of
DATASETS.TEST are refused. Prints calibration error, NLL and mIoU before and after. Training does the same for its own
checkpoints. What MODEL.NIGHTLAB.CALIBRATE, CLASS_BIAS and MERGE do not ask for changes no prediction. Exit status: 0,
or 2 if nothing was written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.modeling import build_model
from tabulate import tabulate

from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.engine.calibrate import fit_file, held_out_records, with_and_without
from nightlab.errors import exits_on_input_error
from nightlab.files import write_json
from nightlab.modeling.calibration import LEAST_SLOPE

FITTED = {
    "image_level": "image level",
    "region_level": "region level, in its regions",
    "class_bias": "image level, CLASS_BIAS",
    "merge": "both levels, MERGE pooled",
    "merge_calibrated": "the same with temperatures",
}
# Of the table: headers, and each one's figure and how it is written.
COLUMNS = (
    ("temperature", "temperature", ".3f"),
    ("ECE, %", "ECE", ".2f"),
    ("after", "ECE_after", ".2f"),
    ("NLL, nats", "NLL", ".4f"),
    ("after", "NLL_after", ".4f"),
    ("mIoU, %", "mIoU", ".2f"),
    ("after", "mIoU_after", ".2f"),
)
FIGURES = ("mIoU", "ECE")


@exits_on_input_error("calibrate.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    cfg = load_config(options.config_file, options.opts)
    catalog.register_cards(cfg.DATASETS.CARDS)
    held_out_records(cfg)  # before a model is built
    output = options.output or options.weights.with_name(f"{options.weights.stem}_calibrated.pth")
    model = build_model(cfg).eval()
    document = fit_file(cfg, model, options.weights, output)
    print(_fitted(document))
    if model.region_level is not None:
        document["held_out"] = with_and_without(cfg, model)
        rows = [[name, *(f"{figures[key]:.2f}" for key in FIGURES)] for name, figures in document["held_out"].items()]
        print(tabulate(rows, ["whole held-out images", *(f"{key}, %" for key in FIGURES)], disable_numparse=True))
    if options.json:
        write_json(options.json, document)
    print(output)
    return 0


def _fitted(document: dict[str, Any]) -> str:
    """What was fitted, as a table and, of the detector, a line."""
    rows = []
    for level, name in FITTED.items():
        if level in document:
            d = document[level]
            values = [_number(d[key], form) if key in d else "" for _, key, form in COLUMNS]
            rows.append([name, d["pixels"], *values, {True: "yes", False: "no"}.get(d.get("kept"), "")])
    headers = ["fitted on held-out pixels", "number", *(header for header, _, _ in COLUMNS), "kept"]
    lines = [tabulate(rows, headers, disable_numparse=True)]
    if any("kept" in document[level] for level in FITTED if level in document):
        lines.append("CLASS_BIAS and MERGE: each half of the images by what the other says; kept where both gain mIoU.")
    if "detector" in document:
        d = document["detector"]
        line = f"{d['slope']:.3f} x log-odds of the score {d['offset']:+.3f}"
        lines.append(f"log-odds of gain: {line} ({d['regions']} regions of {d['images']} images)")
        if d["slope"] <= LEAST_SLOPE:
            lines.append("The score does not tell gain: this is the least slope, which keeps the order of regions.")
    return "\n".join([*lines, ""])


def _number(value: float | Sequence[float], form: str) -> str:
    return ", ".join(f"{x:{form}}" for x in value) if isinstance(value, Sequence) else f"{value:{form}}"


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CFG")
    parser.add_argument("--weights", required=True, type=Path, metavar="FILE", help="the checkpoint")
    parser.add_argument("--output", type=Path, metavar="FILE", help="(default: <weights>_calibrated.pth beside it)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all figures there")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="changes to the configuration")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
