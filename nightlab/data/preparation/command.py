"""What the command lines datasets/prepare_*.py have in common: where to write, and what to say at the end."""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from nightlab.arguments import positive
from nightlab.data import catalog
from nightlab.data.cards import Card
from nightlab.data.paths import datasets_root
from nightlab.data.preparation.report import PartReport
from nightlab.errors import InputError


def add_output(parser: argparse.ArgumentParser, name: str) -> None:
    """Adds `--output` and `--workers`."""
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"where the prepared set goes (default: $DETECTRON2_DATASETS/{name}, where the card looks)",
    )
    parser.add_argument("--workers", type=positive, help="parallel readers (default: one for each core)")


def output_of(options: argparse.Namespace, name: str) -> Path:
    """The folder that `--output` names, or the one that the card reads."""
    return options.output or datasets_root() / name


@contextmanager
def explained_write_errors(output: Path) -> Iterator[None]:
    """Inside, what goes wrong with the files of the prepared tree becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{error.filename or output}: cannot be written ({error.strerror}); make room, or name another folder with "
            "--output, and run the command again: it goes on"
        ) from error


def summary(reports: Sequence[PartReport], output: Path, *cards: str) -> str:
    """The reports, and the names that DATASETS can use now."""
    lines = [*map(str, reports), ""]
    elsewhere = any(output.resolve() != (datasets_root() / _root(card)).resolve() for card in cards)
    names = [] if elsewhere else _usable_names(cards)
    lines.append(f"{output}: prepared." + (f" DATASETS can name {', '.join(names)}" if names else ""))
    if elsewhere:
        lines.append(f"The cards read {datasets_root() / _root(cards[0])}: move the folder there before training")
    return "\n".join(lines)


def status(reports: Sequence[PartReport]) -> int:
    """Exit status: 1 where files were unusable, or nothing is there of a split that was published."""
    return 1 if any(report.faults or report.lost_splits for report in reports) else 0


def _usable_names(cards: Sequence[str]) -> list[str]:
    """The splits of the built-in cards whose lists are there."""
    names = []
    for card in cards:
        for split in catalog.get_source(card).splits:
            try:
                catalog.load(f"{card}_{split}")
            except InputError:
                continue  # not part of this download
            names.append(f"{card}_{split}")
    return names


def _root(card: str) -> str:
    source = catalog.get_source(card)
    assert isinstance(source, Card)
    return source.root
