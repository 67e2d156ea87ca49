"""Checks single values of a card file; every complaint names the file, the key and the remedy."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from nightlab.data.paths import stays_below
from nightlab.errors import CONTROL, InputError, shortened

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
# Beyond it the middle is left out: the key stays, and the remedy.
_LONGEST_MESSAGE = 600


def did_you_mean(word: object, choices: Iterable[str]) -> str:
    """A hint at the nearest choice to append to a message; empty when none is near."""
    near = difflib.get_close_matches(str(word), list(choices), 1)
    return f"; did you mean '{near[0]}'?" if near else ""


class Values:
    """Converts the values of one card file, whose name it holds for messages. Every method raises InputError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, message: str) -> NoReturn:
        raise InputError(f"{self.path}: {shortened(message, _LONGEST_MESSAGE)}")

    def text(self, value: Any, key: str) -> str:
        if not isinstance(value, str):
            self.fail(f"{key} is {value!r}, which YAML does not read as text; put it in quotes")
        if CONTROL.search(value):
            self.fail(f"{key} is {value!r}, which holds a line break or a control character; take it out")
        return value

    def prose(self, value: Any, key: str) -> str:
        """A text that may have several lines in the file."""
        return self.text(" ".join(value.split()) if isinstance(value, str) else value, key)

    def flag(self, value: Any, key: str) -> bool:
        if not isinstance(value, bool):
            self.fail(f"{key} is {value!r}; use true or false")
        return value

    def integer(self, value: Any, key: str, low: int, high: int) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fail(f"{key} has {value!r}; use an integer from {low} to {high}")
        return value

    def choice(self, value: Any, key: str, choices: tuple[str, ...]) -> str:
        if value not in choices:
            self.fail(f"{key} is {value!r}{did_you_mean(value, choices)}; use {' or '.join(choices)}")
        return str(value)

    def name(self, value: Any, key: str) -> str:
        name = self.text(value, key)
        if not _NAME.fullmatch(name):
            self.fail(f"{key} has '{name}'; use up to 100 letters, digits, '_', '-' and '.', a letter or digit first")
        return name

    def relative(self, value: Any, key: str, outside: bool) -> str:
        path = self.text(value, key)
        if not path:
            self.fail(f"{key} is empty; name a path")
        if not outside and not stays_below(path):
            self.fail(
                f"{key} is '{path}', which is absolute or leads upwards; name a path below its folder, "
                "or set 'allow_outside: true' if that is meant (docs/cards.md)"
            )
        return path

    def pattern(self, value: Any, key: str, outside: bool) -> str:
        pattern = self.relative(value, key, outside)
        if "{id}" not in pattern:
            self.fail(f"{key} is '{pattern}'; write {{id}} where the id of an image stands, as in '{key}/{{id}}.png'")
        if re.search(r"[{}]", pattern.replace("{id}", "")):
            self.fail(f"{key} is '{pattern}'; {{id}} is the only placeholder (an id may hold folders, as 'train/0001')")
        return pattern

    def color(self, value: Any, key: str) -> tuple[int, int, int]:
        if not isinstance(value, list) or len(value) != 3:
            self.fail(f"{key} has {value!r}; write [red, green, blue]")
        red, green, blue = (self.integer(channel, key, 0, 255) for channel in value)
        return red, green, blue

    def glob(self, value: Any, key: str, outside: bool) -> str:
        pattern = self.relative(value, key, outside)
        if pattern.count("**") > 1:
            self.fail(f"{key} is '{pattern}'; write ** once, as each of them goes through all folders below")
        return pattern

    def distinct(self, items: tuple[Any, ...], key: str) -> None:
        for item, number in Counter(items).items():
            if number > 1:
                self.fail(f"{key} has {item!r} twice; remove one")
