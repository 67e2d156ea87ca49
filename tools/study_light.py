#!/usr/bin/env python
"""Shows and measures light adaptation: a contact sheet of input, light map and result, and figures of a whole set.

    python tools/study_light.py --config-file CFG --weights FILE --dataset bdd_photos_night_val --sheet sheet.jpg
    python tools/study_light.py --config-file CFG --weights FILE --dataset bdd_photos_day_train --write FOLDER
    python tools/study_light.py --combine light_1.json light_2.json --day day.json --plot light.png

Stand-ins without training need no weights: MODEL.LIGHT.NAME clahe. Labels are not read. --write makes a folder of
adapted images, to train on with the labels of the others (GETTING_STARTED.md). The last form draws luminance and
contrast against SSIM, one point for each file, named by its --name; --day marks what day images have by themselves.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.modeling import build_model
from PIL import Image
from tabulate import tabulate
from tqdm import tqdm

from nightlab.arguments import file_ending_in, positive
from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError, exits_on_input_error
from nightlab.evaluation.adapted_frames import frame_paths, write_frame
from nightlab.evaluation.light_study import FIGURES, adapt_record, adapting_level, average, draw_light, light_table
from nightlab.evaluation.pictures import spread
from nightlab.evaluation.plots import FIGURE_ENDINGS
from nightlab.files import named_if_unwritable, write_json
from nightlab.light_panels import light_panels


@exits_on_input_error("study_light.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    if options.combine:
        documents = [_read(path) for path in options.combine]
        print(light_table(documents))
        if options.plot:
            draw_light(documents, options.plot, _read(options.day) if options.day else None)
        return 0
    cfg = load_config(options.config_file, options.opts)
    catalog.register_cards(cfg.DATASETS.CARDS)
    records = catalog.load((options.dataset,), require_labels=False)
    paths = frame_paths(records, options.write) if options.write else []
    model = build_model(cfg).eval()
    if options.weights:
        NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(options.weights, checkpointables=[])
    level = adapting_level(model)
    if level is None:
        raise InputError(f"{options.config_file}: has no light adaptation; set MODEL.LIGHT.NAME")
    shown = set(spread(len(records), options.number))
    figures, panels = [], []
    for i, record in enumerate(tqdm(records, desc=options.dataset, unit="image")):
        result = adapt_record(level, record)
        figures.append(result.figures)
        if paths:
            write_frame(paths[i], result.adapted)
        if i in shown:
            panels.append(light_panels(result.frame, result.adapted))
    total = average(figures)
    print(tabulate([[key, f"{value:.4g}"] for key, value in total.items()], tablefmt="plain"))
    if paths:
        print(f"{options.write}: {len(paths)} adapted frames")
    if options.sheet:
        with named_if_unwritable(options.sheet, "name another file for --sheet"):
            options.sheet.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_sheet(panels)).save(options.sheet, quality=88)
        print(options.sheet)
    if options.json:
        own = {"name": options.name or cfg.MODEL.LIGHT.NAME, "dataset": options.dataset, "weights": options.weights}
        write_json(options.json, {**own, **total})
    return 0


def _sheet(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Panels below each other; narrower ones are filled up at the right."""
    width = max(panel.shape[1] for panel in panels)
    return np.vstack([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0)), constant_values=20) for p in panels])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", metavar="CFG")
    parser.add_argument("--weights", help="checkpoint (default: as built)")
    parser.add_argument("--dataset", help="a registered data set")
    parser.add_argument("--number", type=positive, default=12, help="frames on the sheet, evenly spread (default: 12)")
    parser.add_argument(
        "--sheet", type=file_ending_in(".jpg", ".png"), metavar="FILE", help="write the contact sheet (.jpg or .png)"
    )
    parser.add_argument(
        "--write", type=Path, metavar="FOLDER", help="write every adapted frame as FOLDER/<image id>.png"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    parser.add_argument("--name", help="what the figures are of, in tables and plots (default: MODEL.LIGHT.NAME)")
    parser.add_argument("--combine", nargs="+", type=Path, metavar="JSON", help="figures that --json wrote")
    parser.add_argument("--day", type=Path, metavar="JSON", help="figures of day images, to be marked in the plot")
    parser.add_argument(
        "--plot", type=file_ending_in(*FIGURE_ENDINGS), metavar="FILE", help="draw the combined figures (.png or .svg)"
    )
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="overrides of the configuration")
    options = parser.parse_args(arguments)
    if not options.combine and not (options.config_file and options.dataset):
        parser.error("give --config-file and --dataset, or --combine")
    return options


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return {"name": path.stem, **{key: float(document[key]) for key in FIGURES}, **document}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no figures that study_light.py wrote ({error})") from None


if __name__ == "__main__":
    sys.exit(main())
