#!/usr/bin/env python
"""What the detector is worth: one checkpoint with its regions from every source, beside plain multi-scale testing.

    python tools/study_regions.py --config-file CFG --weights FILE --dataset camvid_val --output study_1.json
    python tools/study_regions.py --combine study_1.json study_2.json study_3.json --plot study.png

The second form makes a table and a plot of several seeds, of all images or of those that another data set names.
Sources: detector; none; grid and random regions; the image level's own hard components (predicted) and its entropy
(uncertainty); ground_truth and gain, two oracles.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from tqdm import tqdm

from nightlab.arguments import factor, file_ending_in, positive
from nightlab.config import load_config
from nightlab.data import catalog
from nightlab.data.held_out import share_held_out, split_records
from nightlab.data.loader import build_test_loader
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.errors import InputError, exits_on_input_error
from nightlab.evaluation.plots import FIGURE_ENDINGS
from nightlab.evaluation.region_study import IMAGE_LEVEL, RegionStudy
from nightlab.evaluation.region_table import (
    auc_line,
    difference_table,
    draw_study,
    read_study,
    restricted,
    study_table,
    write_study,
)
from nightlab.modeling.nightlab import REGION_SOURCES


@exits_on_input_error("study_regions.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    if options.combine:
        documents = [read_study(path) for path in options.combine]
        if options.images_of:
            if options.config_file:
                catalog.register_cards(load_config(options.config_file, options.opts).DATASETS.CARDS)
            images = {record["image_id"] for record in catalog.load((options.images_of,))}
            documents = [restricted(document, images) for document in documents]
    else:
        documents = [study(options)]
    tables = [study_table(documents, options.regions), auc_line(documents)]
    if options.minus:
        tables.insert(1, difference_table(documents, options.minus, options.regions))
    print(*tables, sep="\n\n")
    if options.plot:
        draw_study(documents, options.plot)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", type=Path)
    parser.add_argument("--weights", help="checkpoint (default: the configuration's MODEL.WEIGHTS)")
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--dataset", help="a registered data set (default: the first of DATASETS.TEST)")
    images.add_argument(
        "--held-out",
        action="store_true",
        help="the held-out images that HDM has not learned gain on either, to choose by; they depend on SEED",
    )
    parser.add_argument("--sources", nargs="+", choices=REGION_SOURCES, default=list(REGION_SOURCES))
    parser.add_argument(
        "--numbers", nargs="+", type=positive, default=[1, 2, 5, 10, 20], help="most regions, each a row"
    )
    parser.add_argument("--scales", nargs="*", type=factor, default=[1.0, 1.5], help="of the multi-scale row")
    parser.add_argument("--limit", type=positive, help="only this many images, evenly spread")
    parser.add_argument(
        "--beside",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="more rows: other checkpoints of the image level alone, as one that was trained for as long as all stages",
    )
    parser.add_argument(
        "--detectors",
        nargs="+",
        default=[],
        metavar="NAME=FILE",
        help="more rows: the detectors of other checkpoints on the same levels, as the stage before HDM",
    )
    parser.add_argument(
        "--output", type=file_ending_in(".json"), help="JSON file; counts per image are written beside it"
    )
    parser.add_argument("--combine", nargs="+", type=Path, metavar="JSON", help="studies of several seeds")
    parser.add_argument(
        "--images-of",
        metavar="DATASET",
        help="with --combine: the images of this data set alone; one's own with --config-file",
    )
    parser.add_argument("--regions", type=int, metavar="N", help="the table's most regions (default: the most studied)")
    parser.add_argument("--minus", metavar="SOURCE", help="with --combine: also SOURCE minus each other row")
    parser.add_argument(
        "--plot", type=file_ending_in(*FIGURE_ENDINGS), help=".png or .svg of mIoU over regions and over time"
    )
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="changes to the configuration")
    options = parser.parse_args(arguments)
    if not options.combine and not options.config_file:
        parser.error("give --config-file, or --combine")
    for option, named in (("--beside", options.beside), ("--detectors", options.detectors)):
        for entry in named:
            name, _, file = entry.partition("=")
            if not file:
                parser.error(f"{option}: {entry!r} is no NAME=FILE; put KEY VALUE behind another option")
            if name in (IMAGE_LEVEL, *REGION_SOURCES):
                parser.error(f"{option}: '{name}' is a row of its own; take another name")
    if options.minus and not options.combine:
        parser.error("--minus goes with --combine")
    return options


def study(options: argparse.Namespace) -> dict[str, Any]:
    """Run one checkpoint over one data set; the report, also written to --output."""
    cfg = load_config(options.config_file, options.opts)
    catalog.register_cards(cfg.DATASETS.CARDS)
    weights = options.weights or cfg.MODEL.WEIGHTS
    if not weights:
        raise InputError("no checkpoint to study; give --weights FILE")
    if not cfg.MODEL.REGION.ENABLED:
        raise InputError(f"{options.config_file}: has no region level; set MODEL.REGION.ENABLED True")
    model = build_model(cfg).eval()
    NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(weights, checkpointables=[])
    if options.held_out:
        name, records = "held out", share_held_out(cfg, split_records(cfg)[1])[1]
    else:
        if not options.dataset and not cfg.DATASETS.TEST:
            raise InputError("no data set to study on; give --dataset, or name one in DATASETS.TEST")
        name = options.dataset or cfg.DATASETS.TEST[0]
        records = catalog.load((name,))
    if options.limit:
        records = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, options.limit).astype(int))]
    without = {"detector"} if model.detector is None else set()
    sources = [source for source in options.sources if source not in without]
    alone = ("MODEL.REGION.ENABLED", False, "MODEL.HARDNESS.LABELS", "")
    result = RegionStudy(
        model,
        records[0]["source"].classes,
        sources,
        options.numbers,
        options.scales,
        beside=dict(_models(cfg, options.beside, alone)),
        detectors={name: other.detector for name, other in _models(cfg, options.detectors)},
    )
    for batch in tqdm(build_test_loader(cfg, records), desc=name, unit="image"):
        for given in batch:
            result.add(given)
    document = {"dataset": name, "weights": str(weights), **result.report()}
    if options.output:
        write_study(options.output, document, result.rows)
    return document


def _models(cfg: CfgNode, named: Sequence[str], changes: Sequence[Any] = ()) -> Iterator[tuple[str, Any]]:
    """Models of the configuration with `changes` by name, from NAME=FILE."""
    own = cfg.clone()
    own.defrost()
    own.merge_from_list(list(changes))
    for entry in named:
        name, _, file = entry.partition("=")
        model = build_model(own).eval()
        NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(file, checkpointables=[])
        yield name, model


if __name__ == "__main__":
    sys.exit(main())
