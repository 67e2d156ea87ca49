#!/usr/bin/env python
"""Prepare BDD100K's 10k set and sort its frames into night and day.

    python datasets/prepare_bdd100k_night.py /downloads/bdd100k
    python datasets/prepare_bdd100k_night.py /downloads/bdd100k --night-list my_night_frames.txt

A frame is night where BDD100K's JSON files say so (timeofday). Where they say nothing, it is night when its mean
luminance is below 48 of 255 (--threshold). lists/*.txt hold the outcome, night.csv the reason for each frame. Then
DATASETS can name bdd100k_night_train_night, _train_day, _val_night, _val_day, and the night for training in two,
_train_night_fit and _train_night_held. Nothing in the folder named is changed. Exit status: 1 where files were unusable
and left out, 2 where nothing could be done.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.data.preparation.bdd100k import prepare_bdd100k_night
from nightlab.data.preparation.command import add_output, explained_write_errors, output_of, status, summary
from nightlab.data.preparation.night import NIGHT_LUMINANCE
from nightlab.errors import exits_on_input_error


def luminance(text: str) -> float:
    """A number from 0 to 255."""
    number = float(text)
    if not 0 <= number <= 255:
        raise argparse.ArgumentTypeError(f"{text} is no luminance, which is 0 to 255")
    return number


@exits_on_input_error("prepare_bdd100k_night.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "source", type=Path, metavar="FOLDER", help="the folder with images/10k and labels, or with seg"
    )
    parser.add_argument(
        "--attributes",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="BDD100K's JSON files, or folders of them, that know times of day (default: all below FOLDER)",
    )
    rule = parser.add_mutually_exclusive_group()
    rule.add_argument("--night-list", type=Path, metavar="FILE", help="these frames are night, one name a line")
    rule.add_argument(
        "--by", choices=["attribute", "luminance"], default="attribute", help="which rule (default: attribute)"
    )
    parser.add_argument(
        "--threshold", type=luminance, default=NIGHT_LUMINANCE, help="mean luminance (default: %(default)g)"
    )
    add_output(parser, "bdd100k_night")
    options = parser.parse_args(arguments)
    output = output_of(options, "bdd100k_night")
    with explained_write_errors(output):
        reports = prepare_bdd100k_night(
            options.source,
            output,
            attributes=options.attributes,
            listed=options.night_list,
            by=options.by,
            threshold=options.threshold,
            workers=options.workers,
        )
    print(summary(reports, output, "bdd100k_night"))
    return status(reports)


if __name__ == "__main__":
    sys.exit(main())
