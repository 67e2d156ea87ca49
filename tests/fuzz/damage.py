"""Damage at random: whole files cut anywhere, with bytes changed, put in, repeated and left out."""

from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st

from . import texts
from .guard import Outcome, watched
from .targets import Target

SECONDS = 30.0
# What lengths, offsets and counts turn into when they lie.
NUMBERS = (
    b"\0",
    b"\xff",
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\0\0",
    b"\0\0\1\0",
    b"\x80",
)
_SIGNS = (b"_BASE_: ", b"*", b"&a ", b"- ", b"{", b"\n")
WORDS = (*(value.encode() for value in texts.VALUES if len(value) < 100), *_SIGNS)

File = tuple[str, bytes]


@st.composite
def damaged(draw: Callable[..., int], whole: dict[str, bytes]) -> File:
    """One of the files, damaged in one to four places."""
    names = sorted(whole)
    name = names[draw(st.integers(0, len(names) - 1))]
    data = whole[name]
    hints = WORDS if name.endswith((".yaml", ".txt")) else NUMBERS
    for _ in range(draw(st.integers(1, 4))):
        at, how = draw(st.integers(0, len(data))), draw(st.integers(0, 5))
        end = at + draw(st.integers(1, 40))
        if how == 0:
            data = data[:at]
        elif how == 1:
            data = data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]
        elif how == 2:
            hint = hints[draw(st.integers(0, len(hints) - 1))]
            data = data[:at] + hint + data[at + len(hint) :]
        elif how == 3:
            data = data[:at] + hints[draw(st.integers(0, len(hints) - 1))] + data[at:]
        elif how == 4:
            data = data[:at] + data[at:end] * draw(st.integers(2, 50)) + data[end:]
        else:
            data = data[:at] + data[end:]
    return name, data


def batches(target: Target, size: int) -> st.SearchStrategy[list[File]]:
    return st.lists(damaged(target.whole), min_size=1, max_size=size)


def prepare(folder: Path) -> None:
    """The data set that cards and lists are read with, and a folder to write to."""
    (folder / "tiny" / "images").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "tiny" / "train.txt").write_text("a\nb\n")
    for name in ("a", "b"):
        (folder / "tiny" / "images" / f"{name}.png").touch()


def tried(target: Target, files: list[File], folder: Path) -> list[Outcome]:
    """The files written to a prepared folder and read; of those with a fault, nothing after them."""
    paths = [folder / f"{number}_{name}" for number, (name, _) in enumerate(files)]
    for path, (_, data) in zip(paths, files, strict=True):
        path.write_bytes(data)
    try:
        return watched(paths, target.read, folder / "out", seconds=SECONDS, megabytes=target.megabytes)
    finally:
        for path in paths:
            path.unlink()
