"""A file that turns bad in the middle of training: another record takes its slot, and the item says so."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from nightlab.errors import InputError

logger = logging.getLogger(__name__)

# The entry of an input dict with the errors that it stands in for; absent as a rule.
BAD_FILES = "bad_files"
# The entry with the files of its unpaired crops, so that a step can name all that it saw; absent where there are none.
BESIDE = "files_beside"
# Tells the draw of replacements from the others that begin with (seed, stage, iteration, slot).
_DRAW = 100


def first_good(attempts: Iterable[Callable[[], Any]], limit: int) -> tuple[Any, list[str]]:
    """The first result that raises no InputError, and the messages of those that did.

    Raises:
        InputError: more than `limit` attempts failed, or all that there are.
    """
    bad: list[str] = []
    last: InputError | None = None
    for attempt in attempts:
        try:
            return attempt(), bad
        except InputError as error:
            bad.append(str(error))
            last = error
            if len(bad) > limit:
                break
    assert last is not None, "there is at least one attempt"
    raise last


def readable(records: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], Any], limit: int) -> Iterator[Any]:
    """What `read` makes of each record; those for which it raises an InputError are named and left out.

    Raises:
        InputError: of more than `limit` of them.
    """
    bad = 0
    for record in records:
        try:
            found = read(record)
        except InputError as error:
            bad += 1
            if bad > limit:
                raise
            logger.warning("left out: %s", error)
        else:
            yield found


def replacements(records: Sequence[dict[str, Any]], index: int, key: Sequence[int]) -> Iterator[int]:
    """Indices of other records of the same training set, in an order drawn by `key`: (seed, stage, iteration, slot)."""
    own = records[index].get("train_set")
    others = [i for i, record in enumerate(records) if i != index and record.get("train_set") == own]
    yield from (others[place] for place in np.random.default_rng((*key, _DRAW)).permutation(len(others)))
