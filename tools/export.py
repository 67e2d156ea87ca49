#!/usr/bin/env python
"""Writes a trained model as one file, ONNX or torch.export's, that takes a uint8 frame and gives its label map.

    python tools/export.py --config-file CFG --output model.onnx --size 360 480 --opts MODEL.WEIGHTS model_final.pth
    python tools/export.py ... --output model.pt2                 # for torch.export.load
    python tools/export.py ... --level image --images photos/     # the image level alone; checked on these

The file is compared with the model on the images given, or on made night streets, and kept where at least 99.9 % of the
labels are equal. `nightlab.load` runs either, an ONNX file without torch. Exit status: 0, or 2 if nothing was written.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nightlab.arguments import positive
from nightlab.config import load_config
from nightlab.data.nightstreet import render
from nightlab.data.reading import NO_SPLIT_REMEDY, read_image
from nightlab.demo.sinks import make_folder
from nightlab.demo.sources import find_images
from nightlab.errors import exits_on_input_error
from nightlab.export.checked import check_format, export
from nightlab.predictor import Predictor

FIRST_SCENE = 2_000_000  # NightStreet's test scenes


@exits_on_input_error("export.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    check_format(options.output)
    size = tuple(options.size)
    as_it_is = ("MODEL.DEVICE", "cpu", "TEST.PRECISION", "float32", "TEST.COMPILE", "")
    cfg = load_config(options.config_file, [*options.opts, *as_it_is])
    predictor = Predictor(cfg)
    if options.images:
        files = find_images(options.images)[: options.number]
        images = [read_image(file, otherwise=NO_SPLIT_REMEDY) for file in files]
        what = "given images"
    else:
        images = [_street(i, size) for i in range(options.number)]
        what = "made scenes"
    make_folder(options.output.parent)
    agreement = export(predictor, options.output, size, images, level=options.level, dynamic=options.dynamic)
    print(f"{options.output}: {options.output.stat().st_size / 2**20:.1f} MiB for frames of {size[1]}x{size[0]}")
    print(
        f"labels equal to the model's on {len(images)} {what}: {100 * agreement.mean:.4f} %, "
        f"on the worst of them {100 * agreement.least:.4f} %"
    )
    return 0


def _street(number: int, size: tuple[int, int]) -> np.ndarray:
    return render(FIRST_SCENE + number, size, "night").image


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CFG")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="to write, .onnx or .pt2")
    parser.add_argument("--size", required=True, nargs=2, type=positive, metavar=("H", "W"), help="of the frames")
    parser.add_argument("--level", choices=["all", "image"], default="all", help="image: without the region level")
    parser.add_argument("--dynamic", action="store_true", help="run found regions only, not always MAX_REGIONS")
    parser.add_argument("--images", nargs="+", metavar="PATH", help="files, folders or patterns to compare on")
    parser.add_argument("--number", type=positive, default=3, metavar="N", help="of images compared (default: 3)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="as MODEL.WEIGHTS")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
