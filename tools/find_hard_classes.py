"""Ranks the classes of a run by their IoU on held-out images, marks the hard ones, and draws the ranking.

    python tools/find_hard_classes.py RUN_DIR
    python tools/find_hard_classes.py output/seed1 output/seed2 --hard-iou 0.4 --output hard_classes.svg

RUN_DIR is the OUTPUT_DIR of a training, or a file evaluation/<data set>/<kind>.json in it. Of several (seeds of one
variant) the mean is ranked. Hard classes are never chosen on test images: those are refused, with exit status 2.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.arguments import file_ending_in
from nightlab.errors import exits_on_input_error
from nightlab.evaluation.hard_classes import draw_ranking, rank, ranking_table, read_held_out
from nightlab.evaluation.plots import FIGURE_ENDINGS


@exits_on_input_error("find_hard_classes.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN_DIR_OR_JSON", nargs="+", type=Path)
    parser.add_argument(
        "--hard-iou",
        type=_share,
        metavar="IOU",
        help="classes below it are hard, 0 to 1 (default: the run's MODEL.NIGHTLAB.HARD_IOU, or the paper's 0.5)",
    )
    parser.add_argument(
        "--checkpoint",
        choices=["best", "last"],
        default="best",
        help="which validation of a run's folder (default: best)",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=file_ending_in(*FIGURE_ENDINGS),
        help="the chart, .png or .svg (default: hard_classes.svg in the first run)",
    )
    options = parser.parse_args(arguments)
    ranking = rank([read_held_out(path, options.checkpoint) for path in options.runs], options.hard_iou)
    print(ranking_table(ranking))
    first = options.runs[0]
    output = options.output or (first if first.is_dir() else first.parent) / "hard_classes.svg"
    draw_ranking(ranking, output)
    print(output)
    return 0


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
