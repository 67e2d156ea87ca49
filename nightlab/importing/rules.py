"""How tensors of a foreign checkpoint are renamed, and what is known of a kind of checkpoint.

Names on our side are those of a `Segmentor`: `backbone.body.` (timm's, feature model), `backbone.norms.`,
`decode_head.` and `aux_head.`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Keys that match `pattern` throughout become `target`; an empty one leaves the tensor out, and `note` says why.

    `change` says what happens to the values: "" nothing; "query", "key", "value" are parts of one matrix here;
    "unfold" is a patch merging of another channel order; "classifier" follows the classes.
    """

    pattern: str
    target: str | Callable[[re.Match[str]], str]
    change: str = ""
    note: str = ""

    def rename(self, key: str) -> str | None:
        """The new name, or None where the rule says nothing about this key."""
        match = re.fullmatch(self.pattern, key)
        if match is None:
            return None
        return match.expand(self.target) if isinstance(self.target, str) else self.target(match)


@dataclass(frozen=True)
class Source:
    """One kind of checkpoint: its name for people, the keys that tell it, its rules, and whether it has a head."""

    name: str
    has: tuple[str, ...]
    rules: tuple[Rule, ...]
    segmentor: bool = True
    windows: str = "official"
    """The order of padding and shifting that its weights were trained with (MODEL.TIMM.WINDOWS)."""

    def rule(self, key: str) -> tuple[Rule, str] | None:
        """The first rule that speaks of `key`, and the key's new name."""
        for rule in self.rules:
            renamed = rule.rename(key)
            if renamed is not None:
                return rule, renamed
        return None
