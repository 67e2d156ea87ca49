"""The one exception for problems that the user can fix: a file, a card, a configuration."""

import functools
import re
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import ParamSpec

P = ParamSpec("P")

# The exit status of a command that Ctrl-C ended, as shells have it: 128 and SIGINT's number.
INTERRUPTED = 130

# What breaks lines or rules terminals, and what no encoding has: names of files may hold it.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class InputError(ValueError):
    """Something outside the code is wrong; the message is one line that names the file and the remedy.

    Command lines print it without a traceback and exit with status 2.
    """

    def __str__(self) -> str:
        return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), super().__str__())


def shortened(text: str, most: int = 300) -> str:
    """A text in one line of at most `most` characters; its middle is left out where it is longer."""
    line, gap = " ".join(text.split()), " ... "
    end = (most - len(gap)) // 2
    return line if len(line) <= most else f"{line[:end]}{gap}{line[-end:]}"


def enumerate_some(items: Sequence[object], limit: int = 10) -> str:
    """The first items of a list for a message, and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def missing_packages(*names: str) -> list[str]:
    """Those that are not installed here."""
    return [name for name in names if find_spec(name) is None]


def one_line(error: Exception) -> str:
    """The message of an InputError without the traceback that torch puts around errors of other processes."""
    traceback = str(error.args[0]) if error.args else ""
    _, found, message = traceback.rpartition(f"{InputError.__module__}.{InputError.__qualname__}: ")
    return message.strip() if found else str(error)


def exits_on_input_error(program: str = "") -> Callable[[Callable[P, int]], Callable[P, int]]:
    """For the `main` of a command line: an InputError becomes one line, after `program`, and exit status 2; Ctrl-C one
    line, too, and `INTERRUPTED`."""

    def decorate(main: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(main)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return main(*args, **kwargs)
            except InputError as error:
                said, status = one_line(error), 2
            except KeyboardInterrupt:
                said, status = "interrupted", INTERRUPTED
            print(f"{program}: {said}" if program else said, file=sys.stderr)
            return status

        return guarded

    return decorate
