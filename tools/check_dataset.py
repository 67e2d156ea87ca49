"""Checks data sets before training: reads every image and label, lists every fault, sums up classes, sizes and light.

    python tools/check_dataset.py my_card.yaml
    python tools/check_dataset.py camvid bdd_micro_val_night --workers 4 --json report.json

Exit status: 0 without faults, 1 with faults, 2 if a card or a name cannot be used.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.arguments import positive
from nightlab.data import Source, get_source, load_card
from nightlab.data.checks import check_source
from nightlab.errors import exits_on_input_error
from nightlab.files import write_json


@exits_on_input_error()
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    chosen = [_resolve(target, options.split) for target in options.targets]
    reports = [
        report for source, splits in chosen for report in check_source(source, splits, options.workers, progress=True)
    ]
    if options.json:
        write_json(options.json, [report.to_json() for report in reports])
    print("\n\n".join(map(str, reports)))
    faults = sum(len(report.faults) for report in reports)
    print(f"\n{faults or 'no'} fault{'' if faults == 1 else 's'} in {sum(report.images for report in reports)} images")
    return 1 if faults else 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "targets",
        nargs="+",
        metavar="CARD_OR_NAME",
        help="a card file, a data set (camvid) or one of its splits (camvid_val)",
    )
    parser.add_argument("--split", action="append", help="check this split only; may be repeated")
    parser.add_argument("--workers", type=positive, help="parallel readers (default: one for each core)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports to this file too")
    return parser.parse_args(arguments)


def _resolve(target: str, splits: list[str] | None) -> tuple[Source, list[str] | None]:
    """The source that a card file or a registered name stands for, and the splits to check."""
    if target.endswith((".yaml", ".yml")):
        return load_card(target), splits
    source = get_source(target)
    if target == source.name:
        return source, splits
    return source, [target.removeprefix(f"{source.name}_")]


if __name__ == "__main__":
    sys.exit(main())
