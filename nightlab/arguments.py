"""Types of command-line arguments that several tools take."""

import argparse
from collections.abc import Callable
from pathlib import Path


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def not_negative(text: str) -> int:
    """A whole number of at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text} is less than 0")
    return number


def factor(text: str) -> float:
    """A number above 0, as a scale is."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return number


def file_to_write(text: str) -> Path:
    """The type of a file that is written at the end of long work: its folder must be there."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: cannot be written; name a file in a folder that exists")
    return path


def file_ending_in(*endings: str) -> Callable[[str], Path]:
    """The type of a file to write whose name says what kind it is, as ".png", in either case."""

    def path(text: str) -> Path:
        if not text.lower().endswith(endings):
            raise argparse.ArgumentTypeError(f"{text}: name a file that ends in {' or '.join(endings)}")
        return Path(text)

    return path
