#!/usr/bin/env python
"""Shows and measures light adaptation: a contact sheet of input, light map and result, and figures of a whole set.

    python tools/study_light.py --config-file CFG --weights FILE --dataset bdd_photos_night_val --sheet sheet.jpg

Stand-ins without training need no weights: MODEL.LIGHT.NAME clahe. Labels are not read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.modeling import build_model
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError, exits_on_input_error
from nightlab.evaluation.light_study import adapt_record, adapting_level, average
from nightlab.evaluation.pictures import spread
from nightlab.files import write_json
from nightlab.light_panels import light_panels


@exits_on_input_error("study_light.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    cfg = load_config(options.config_file, options.opts)
    catalog.register_cards(cfg.DATASETS.CARDS)
    model = build_model(cfg).eval()
    if options.weights:
        NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(options.weights, checkpointables=[])
    level = adapting_level(model)
    if level is None:
        raise InputError(f"{options.config_file}: has no light adaptation; set MODEL.LIGHT.NAME")
    records = catalog.load((options.dataset,))
    shown = set(spread(len(records), options.number))
    figures, panels = [], []
    for i, record in enumerate(tqdm(records, desc=options.dataset, unit="image")):
        result = adapt_record(level, record)
        figures.append(result.figures)
        if i in shown:
            panels.append(light_panels(result.frame, result.adapted))
    total = average(figures)
    print(tabulate([[key, f"{value:.4g}"] for key, value in total.items()], tablefmt="plain"))
    if options.sheet:
        options.sheet.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(_sheet(panels)).save(options.sheet, quality=88)
        print(options.sheet)
    if options.json:
        write_json(options.json, {"dataset": options.dataset, "weights": options.weights, **total})
    return 0


def _sheet(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Panels below each other; narrower ones are filled up at the right."""
    width = max(panel.shape[1] for panel in panels)
    return np.vstack([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=20) for p in panels])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CFG")
    parser.add_argument("--weights", help="checkpoint (default: as built)")
    parser.add_argument("--dataset", required=True, help="a registered data set")
    parser.add_argument("--number", type=int, default=12, help="frames on the sheet, evenly spread (default: 12)")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write the contact sheet (.jpg or .png)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides of the configuration")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
