"""Files written aside and renamed, so that nobody meets half of one."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nightlab.errors import InputError


@contextmanager
def written_aside(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to; it takes the place of `path` when the block ends without an error."""
    aside = path.with_name(f".{path.name}.part")
    yield aside
    os.replace(aside, path)


def write_json(path: Path, content: object) -> None:
    """Write what `--json` of a command line asks for. Raises InputError where the file cannot be written."""
    try:
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another file for --json") from None
