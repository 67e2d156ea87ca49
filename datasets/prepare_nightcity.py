#!/usr/bin/env python
"""Prepare NightCity, NightCity+ and NightCity-fine: whichever of them you name, in one tree that the cards read.

    python datasets/prepare_nightcity.py --original /downloads/NightCity --plus /downloads/NightCity+
    python datasets/prepare_nightcity.py --fine /downloads/nightcity-fine

Then DATASETS can name nightcity_train, nightcity_val, nightcity_plus_val, nightcity_fine_train, nightcity_fine_val, and
the training images in two, *_train_fit and *_train_held. Nothing in the folders named is changed. Exit status: 1 where
files were unusable and left out, 2 where nothing could be done.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.data.preparation.command import add_output, explained_write_errors, output_of, status, summary
from nightlab.data.preparation.nightcity import prepare_nightcity
from nightlab.errors import exits_on_input_error


@exits_on_input_error("prepare_nightcity.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--original", type=Path, metavar="FOLDER", help="NightCity: images and labels")
    parser.add_argument("--plus", type=Path, metavar="FOLDER", help="NightCity+: new labels of the validation images")
    parser.add_argument("--fine", type=Path, metavar="FOLDER", help="NightCity-fine: images and labels")
    add_output(parser, "nightcity")
    options = parser.parse_args(arguments)
    output = output_of(options, "nightcity")
    with explained_write_errors(output):
        reports = prepare_nightcity(output, options.original, options.plus, options.fine, workers=options.workers)
    print(summary(reports, output, "nightcity", "nightcity_plus", "nightcity_fine"))
    return status(reports)


if __name__ == "__main__":
    sys.exit(main())
