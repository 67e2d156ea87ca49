#!/usr/bin/env python
"""mIoU of evaluations with bootstrap intervals over images, and the difference of each to the first one.

    python tools/compare.py output/a/evaluation/camvid_test/best.json output/b/evaluation/camvid_test/best.json

Several seeds of one variant: join their files with commas; their mean is compared, resampling the same images in each.
"""

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from tabulate import tabulate

from nightlab.errors import InputError, exits_on_input_error
from nightlab.evaluation.bootstrap import Interval, interval_of_mean, load_counts
from nightlab.evaluation.metrics import are_named, mean_iou


@exits_on_input_error("compare.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "evaluations", metavar="FILE[,FILE...]", nargs="+", help="evaluation JSON files; commas join seeds"
    )
    parser.add_argument("--level", default="sem_seg", choices=["sem_seg", "sem_seg_image_level"])
    parser.add_argument("--classes", metavar="NAME", nargs="+", help="the mean over these alone, as the hard ones")
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args(arguments)
    print(
        compare([group.split(",") for group in options.evaluations], options.level, options.resamples, options.classes)
    )
    return 0


def compare(groups: Sequence[Sequence[str]], level: str, resamples: int, names: Sequence[str] | None = None) -> str:
    """A table of one line per group of evaluation files (seeds of one variant), of all classes or of those named."""
    variants = [[load_counts(file, level) for file in group] for group in groups]
    document, images, _ = variants[0][0]
    for group, variant in zip(groups, variants, strict=True):
        for file, (other, other_images, _) in zip(group, variant, strict=True):
            if other["classes"] != document["classes"] or not np.array_equal(images, other_images):
                raise InputError(
                    f"{file}: evaluated on other images or classes than {groups[0][0]}; compare like with like"
                )
    rows = []
    classes = are_named(document["classes"], names or document["classes"], "--classes")
    first = [counts[..., classes] for _, _, counts in variants[0]]
    for group, variant in zip(groups, variants, strict=True):
        counts = [entry[..., classes] for _, _, entry in variant]
        seeds = ", ".join(f"{100 * float(mean_iou(entry.sum(0))):.2f}" for entry in counts)
        difference: Interval | str = (
            "-" if variant is variants[0] else interval_of_mean(counts, first, resamples=resamples)
        )
        rows.append([group[0], seeds, interval_of_mean(counts, resamples=resamples), difference])
    headers = ["first file of the variant", "mIoU by seed", "mean [95 %]", "minus the first [95 %]"]
    of = f", classes {', '.join(names)}" if names else ""
    return f"{document['dataset']}, {len(images)} images{of}\n" + tabulate(rows, headers=headers, disable_numparse=True)


if __name__ == "__main__":
    sys.exit(main())
