#!/usr/bin/env python
"""A sheet of NightStreet scenes: by night, by day, and their labels, one row per seed.

python tools/nightstreet.py --seeds 1 5 3 --output docs/images/nightstreet.jpg
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from nightlab.data.cityscapes import COLORS
from nightlab.data.nightstreet import render


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 5, 3])
    parser.add_argument("--size", type=int, nargs=2, metavar=("H", "W"), default=[205, 410])
    parser.add_argument("--output", type=Path, default=Path("nightstreet.jpg"))
    options = parser.parse_args(arguments)
    sheet = np.vstack([_row(seed, tuple(options.size)) for seed in options.seeds])
    if not cv2.imwrite(str(options.output), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        print(f"nightstreet.py: {options.output} cannot be written; name a .jpg or .png in a folder there is")
        return 2
    print(options.output)
    return 0


def _row(seed: int, size: tuple[int, int]) -> np.ndarray:
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(COLORS)] = COLORS
    night, day = render(seed, size), render(seed, size, "day")
    return np.hstack([night.image, day.image, colors[night.label]])


if __name__ == "__main__":
    sys.exit(main())
