#!/usr/bin/env python
"""Prepare Cityscapes, the day set beside NightCity: label ids become train ids, in one tree that the card reads.

    python datasets/prepare_cityscapes.py /downloads/cityscapes

Then DATASETS can name cityscapes_train and cityscapes_val. Nothing in the folder named is changed. Exit status: 1 where
files were unusable and left out, 2 where nothing could be done.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.data.preparation.cityscapes_set import prepare_cityscapes
from nightlab.data.preparation.command import add_output, explained_write_errors, output_of, status, summary
from nightlab.errors import exits_on_input_error


@exits_on_input_error("prepare_cityscapes.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="FOLDER", help="the folder with leftImg8bit and gtFine")
    add_output(parser, "cityscapes")
    options = parser.parse_args(arguments)
    output = output_of(options, "cityscapes")
    with explained_write_errors(output):
        reports = prepare_cityscapes(options.source, output, workers=options.workers)
    print(summary(reports, output, "cityscapes"))
    return status(reports)


if __name__ == "__main__":
    sys.exit(main())
