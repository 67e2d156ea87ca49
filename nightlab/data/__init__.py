"""Data sets: cards of files, made scenes, and how both reach detectron2. Importing it registers what is built in."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip

from nightlab.data.card_schema import load_card
from nightlab.data.cards import Card
from nightlab.data.catalog import Source, get_source, load, register_builtin, register_cards, register_source

__all__ = ["Card", "Source", "get_source", "load", "load_card", "register_builtin", "register_cards", "register_source"]

register_builtin()
