"""Reads YAML that others wrote: plain values alone, and never more of them than the file is worth."""

import os
from typing import Any, NoReturn

import yaml

from nightlab.errors import InputError, shortened
from nightlab.files import read_limited

MAX_BYTES = 1_000_000
# With every alias counted as what it stands for, so that few lines cannot stand for billions of values.
MAX_VALUES = 50_000
MAX_DEPTH = 50
MAX_DIGITS = 100


class _Loader(yaml.SafeLoader):
    """SafeLoader within these limits, which refuses a key given twice, where YAML would silently keep the last."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._values = self._depth = 0
        self._values_in: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        is_alias, before = self.check_event(yaml.AliasEvent), self._values
        mark = self.peek_event().start_mark
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse(f"more than {MAX_DEPTH} levels inside each other", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if not is_alias:
            self._values += 1
            self._values_in[id(node)] = self._values - before
        elif id(node) in self._values_in:
            self._values += self._values_in[id(node)]
        else:
            self._refuse("an alias stands inside of what it stands for", mark)
        if self._values > MAX_VALUES:
            self._refuse(f"more than {MAX_VALUES} values", mark)
        if isinstance(node, yaml.ScalarNode) and len(node.value) > MAX_DIGITS and node.tag.endswith((":int", ":float")):
            self._refuse(f"a number of more than {MAX_DIGITS} digits", mark)
        return node

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        if isinstance(node, yaml.MappingNode):
            seen = set()
            for key, _ in node.value:
                written = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
                if written in seen:
                    self._refuse(f"key '{key.value}' is given twice", key.start_mark)
                seen.update([written] if written else [])
        return super().construct_mapping(node, deep)

    @staticmethod
    def _refuse(reason: str, mark: Any) -> NoReturn:
        raise yaml.constructor.ConstructorError(None, None, reason, mark)


def load_yaml(path: str | os.PathLike[str], kind: str) -> Any:
    """What a YAML file holds, in Python's own types; `kind` says in messages what the file is meant to be.

    Raises:
        OSError: as `open`.
        InputError: it is no regular file, larger than the limits above, no UTF-8, no YAML, or would construct objects.
    """
    data = read_limited(path, MAX_BYTES)
    try:
        return yaml.load(data.decode("utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read ({error}); a {kind} is a UTF-8 text file") from None
    # PyYAML lets through what Python says to a date, a number or a pair that is none.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = shortened(str(error)) or type(error).__name__
        raise InputError(f"{path}: not a plain YAML {kind} (Python objects are refused): {reason}") from None
