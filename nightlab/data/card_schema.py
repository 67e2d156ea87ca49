"""Reads card files: safe YAML, every key checked, and defaults filled in. docs/cards.md is the reference for users."""

import colorsys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightlab.data import cityscapes
from nightlab.data.card_values import Values, did_you_mean
from nightlab.data.cards import Card, Color, Split
from nightlab.errors import InputError
from nightlab.plain_yaml import load_yaml

REQUIRED = ("name", "images", "splits", "classes")
LABEL_KEYS = ("label_encoding", "label_map", "ignore_ids", "ignore_colors", "ignore_label")
KEYS = (*REQUIRED, "root", "labels", "colors", *LABEL_KEYS, "allow_outside", "description")
MAX_CLASSES = 254
MAX_RAW_ID = 65535


def load_card(path: str | Path) -> Card:
    """Reads and checks one card file. Files of the data set itself are not touched.

    Raises:
        InputError: the file is missing, no YAML, or breaks the schema of docs/cards.md.
    """
    path = Path(path)
    try:
        content = load_yaml(path, "card")
    except FileNotFoundError:
        raise InputError(f"{path}: no such card; docs/cards.md shows how to write one") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); a card is a UTF-8 text file") from None
    return parse_card(content, path)


def parse_card(content: Any, path: Path) -> Card:
    """Checks what a card file holds and builds the card. Raises InputError as `load_card`."""
    values = Values(path)
    if not isinstance(content, dict):
        values.fail(f"a card is a mapping with the keys {', '.join(REQUIRED)}...; docs/cards.md shows one")
    for key in content:
        if key not in KEYS:
            values.fail(f"unknown key '{key}'{did_you_mean(key, KEYS)}")
    for key in REQUIRED:
        if content.get(key) is None:
            values.fail(f"the key '{key}' is missing; add it (docs/cards.md)")
    outside = values.flag(content.get("allow_outside", False), "allow_outside")
    name = values.name(content["name"], "name")
    classes = _classes(content["classes"], values)
    labels = content.get("labels")
    return Card(
        name=name,
        root=values.relative(content.get("root", name), "root", outside),
        images=values.pattern(content["images"], "images", outside),
        labels=None if labels is None else values.pattern(labels, "labels", outside),
        split_ids=_splits(content["splits"], outside, values),
        classes=classes,
        allow_outside=outside,
        description=values.prose(content.get("description", ""), "description"),
        path=path,
        **_label_fields(content, classes, values),
    )


def _splits(value: Any, outside: bool, values: Values) -> tuple[tuple[str, Split], ...]:
    if not isinstance(value, dict) or not value:
        values.fail("splits maps names to id lists, as 'train: splits/train.txt'; name at least one")
    splits = {values.name(name, "splits"): _split(name, ids, outside, values) for name, ids in value.items()}
    for name, split in splits.items():
        for part in split.union:
            values.choice(part, f"splits.{name}", tuple(s for s in splits if not splits[s].union))
    return tuple(splits.items())


def _split(name: str, value: Any, outside: bool, values: Values) -> Split:
    key = f"splits.{name}"
    if isinstance(value, str):
        return Split(file=values.relative(value, key, outside))
    if isinstance(value, list) and value:
        return Split(union=tuple(values.text(part, key) for part in value))
    if not isinstance(value, dict) or len(value) != 1:
        values.fail(
            f"{key} is {value!r}; name a list file or a list of splits, or give {{glob: ...}} or {{ids: [...]}}"
        )
    kind, content = next(iter(value.items()))
    if values.choice(kind, f"the key in {key}", ("glob", "ids")) == "glob":
        return Split(glob=values.glob(content, f"{key}.glob", outside))
    if not isinstance(content, list) or not content:
        values.fail(f"{key}.ids is {content!r}; list at least one id")
    ids = tuple(values.text(i, f"{key}.ids") for i in content)
    values.distinct(ids, f"{key}.ids")
    return Split(ids=ids)


def _classes(value: Any, values: Values) -> tuple[str, ...]:
    if value == "cityscapes":
        return cityscapes.CLASSES
    if not isinstance(value, list) or not 2 <= len(value) <= MAX_CLASSES:
        values.fail(f"classes is {value!r}; list 2 to {MAX_CLASSES} names, or write 'cityscapes' for its 19")
    names = tuple(values.text(name, "classes") for name in value)
    values.distinct(names, "classes")
    if not all(name.strip() for name in names):
        values.fail("classes has a blank name; give each class a name")
    return names


def _label_fields(content: Mapping[str, Any], classes: tuple[str, ...], values: Values) -> dict[str, Any]:
    """What says how label files become class ids, and the colours of the classes."""
    encoding = values.choice(content.get("label_encoding", "index"), "label_encoding", ("index", "color"))
    ignore_label = values.integer(content.get("ignore_label", 255), "ignore_label", len(classes), 255)
    fields: dict[str, Any] = {"label_encoding": encoding, "ignore_label": ignore_label}
    if encoding == "color":
        for key in {"label_map", "ignore_ids"} & content.keys():
            values.fail(f"{key} does not go with 'label_encoding: color'; use colors and ignore_colors")
        if content.get("colors") is None and classes != cityscapes.CLASSES:
            values.fail("'label_encoding: color' needs colors: one [red, green, blue] for each class")
        ignored = content.get("ignore_colors", [])
        if not isinstance(ignored, list):
            values.fail(f"ignore_colors is {ignored!r}; list colours, as [[0, 0, 0]]")
        colors = _colors(content.get("colors"), classes, values)
        ignore_colors = tuple(values.color(color, "ignore_colors") for color in ignored)
        values.distinct(colors + ignore_colors, "colors with ignore_colors")
        return fields | {"colors": colors, "ignore_colors": ignore_colors}
    if "ignore_colors" in content:
        values.fail("ignore_colors goes with 'label_encoding: color' only; use ignore_ids")
    label_map = _label_map(content.get("label_map", "identity"), classes, ignore_label, values)
    ignored = content.get("ignore_ids", [] if ignore_label in label_map else [ignore_label])
    if not isinstance(ignored, list):
        values.fail(f"ignore_ids is {ignored!r}; list raw ids, as [255]")
    ignore_ids = tuple(values.integer(raw, "ignore_ids", 0, MAX_RAW_ID) for raw in ignored)
    for raw in ignore_ids:
        if label_map.get(raw, ignore_label) != ignore_label:
            values.fail(f"raw id {raw} stands in ignore_ids and has a class in label_map; remove one")
    colors = _colors(content.get("colors"), classes, values)
    return fields | {"colors": colors, "raw_to_class": tuple(label_map.items()), "ignore_ids": ignore_ids}


def _label_map(value: Any, classes: tuple[str, ...], ignore_label: int, values: Values) -> dict[int, int]:
    """Raw id to class id or ignore label."""
    if value == "identity":
        return {i: i for i in range(len(classes))}
    if value == "cityscapes_label_ids":
        if classes != cityscapes.CLASSES:
            values.fail("label_map is 'cityscapes_label_ids'; write 'classes: cityscapes' with it")
        trained = cityscapes.LABEL_IDS_TO_TRAIN_IDS.items()
        return {raw: ignore_label if i == cityscapes.IGNORE_LABEL else i for raw, i in trained}
    if isinstance(value, str):
        values.choice(value, "label_map", ("identity", "cityscapes_label_ids", "a mapping 'raw id: class'"))
    if not isinstance(value, dict) or not value:
        values.fail(f"label_map is {value!r}; map each raw id to a class, as '7: road', or write 'identity'")
    label_map = {}
    for raw, target in value.items():
        raw = values.integer(raw, "label_map (left side)", 0, MAX_RAW_ID)
        label_map[raw] = _class_id(raw, target, classes, ignore_label, values)
    return label_map


def _class_id(raw: int, value: Any, classes: tuple[str, ...], ignore_label: int, values: Values) -> int:
    if isinstance(value, str):
        if value not in classes:
            values.fail(f"label_map gives raw id {raw} the unknown class '{value}'{did_you_mean(value, classes)}")
        return classes.index(value)
    if value == ignore_label and not isinstance(value, bool):
        return ignore_label
    return values.integer(value, f"label_map for raw id {raw}", 0, len(classes) - 1)


def _colors(value: Any, classes: tuple[str, ...], values: Values) -> tuple[Color, ...]:
    if value is None:
        return _default_colors(classes)
    if not isinstance(value, list) or len(value) != len(classes):
        values.fail(f"colors lists one [red, green, blue] for each of the {len(classes)} classes, in their order")
    return tuple(values.color(color, "colors") for color in value)


def _default_colors(classes: tuple[str, ...]) -> tuple[Color, ...]:
    """Cityscapes' colour for a class of its name, else hues a golden section apart."""
    known = dict(zip(cityscapes.CLASSES, cityscapes.COLORS, strict=True))
    colors = []
    for n, name in enumerate(classes):
        hue = colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.55 + 0.15 * (n % 3), 0.95 - 0.15 * (n // 3 % 3))
        red, green, blue = (round(255 * channel) for channel in hue)
        colors.append(known.get(name, (red, green, blue)))
    return tuple(colors)
