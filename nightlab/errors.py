"""The one exception for problems that the user can fix: a file, a card, a configuration."""

from collections.abc import Sequence


class InputError(ValueError):
    """Something outside the code is wrong; the message is one line that names the file and the remedy.

    Command lines print it without a traceback and exit with status 2.
    """


def enumerate_some(items: Sequence[object], limit: int = 10) -> str:
    """The first items of a list for a message, and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more


def one_line(error: InputError) -> str:
    """The message without the traceback that torch's data loader puts around an error of its workers."""
    return str(error).strip().splitlines()[-1].removeprefix(f"{InputError.__module__}.{InputError.__qualname__}: ")
