"""Files of torch.save that stand for much more than they are: found before anything is built from them.

A compressed archive may unpack to anything, and torch never compresses. A container that holds another twice, which
holds a third twice, and so on, is short to write down and has no end for whoever compares or prints it: torch's safe
unpickler runs no code, but it does both.
"""

import pickletools
import zipfile
from pathlib import Path
from typing import IO

# Each may double what stands there. State dicts have next to none.
MAX_REPEATS = 16
# torch's format of before 1.6: two numbers, a dict, the content and the keys of its storages, one after the other.
_IN_OLD_FORMAT = 5

_ARCHIVE = b"PK\x03\x04"
_MOST_UNPACKED = 2

_LEAF, _FLAT, _DEEP = range(3)  # no container; a tuple without containers; any other container or object


def check_saved(path: Path) -> None:
    """Looks through a file that torch.save wrote, an archive or of the format before it.

    Raises:
        ValueError: it is compressed, or its pickles refer too often to what they hold already. What `zipfile` and
            `pickletools` raise for damaged files is left as it is.
    """
    with path.open("rb") as file:
        if file.read(len(_ARCHIVE)) != _ARCHIVE:  # torch's own test
            file.seek(0)
            for _ in range(_IN_OLD_FORMAT):
                _check(file)
            return
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_UNPACKED * path.stat().st_size:
            raise ValueError("is compressed, and unpacks to much more; torch.save does not compress")
        for name in archive.namelist():
            if name.endswith(".pkl"):
                with archive.open(name) as entry:
                    _check(entry)


def _check(file: IO[bytes]) -> None:
    stack: list[int | None] = []  # None is a mark
    memo: dict[int, int | None] = {}
    repeats = 0
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name == "MARK":
            stack.append(None)
        elif "PUT" in name or name == "MEMOIZE":
            memo[len(memo) if argument is None else int(argument)] = stack[-1]
        elif "GET" in name or name == "DUP":
            again = stack[-1] if name == "DUP" else memo[int(argument or 0)]
            stack.append(again)
            repeats += again == _DEEP
            if repeats > MAX_REPEATS:
                raise ValueError(f"refers more than {MAX_REPEATS} times to what it holds already")
        else:
            taken = _take(stack, operation)
            stack += [_kind(name, taken)] * len(operation.stack_after)


def _take(stack: list[int | None], operation: pickletools.OpcodeInfo) -> list[int]:
    """What an operation takes from the stack, which becomes shorter by it."""
    single = len(operation.stack_before)
    taken: list[int | None] = []
    if pickletools.markobject in operation.stack_before:
        single -= 2  # the mark, and all that is above it
        while (top := stack.pop()) is not None:
            taken.append(top)
    taken += [stack.pop() for _ in range(single)]
    return [_LEAF if kind is None else kind for kind in taken]


def _kind(name: str, taken: list[int]) -> int:
    """What an operation makes of what it has taken."""
    if "TUPLE" in name:
        return _DEEP if any(taken) else _FLAT
    if name.endswith("PERSID"):  # a storage
        return _LEAF
    return _DEEP if taken or name.startswith("EMPTY") else _LEAF
