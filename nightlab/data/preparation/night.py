"""Which frames are night: by an attribute, by luminance where there is none, or by a list.

The rule for luminance: a frame is night when its mean luminance (Rec. 601, 0 to 255) is below 48.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nightlab.errors import InputError, enumerate_some
from nightlab.files import written_aside

NIGHT_LUMINANCE = 48.0
KNOWN_TIMES = ("daytime", "night", "dawn/dusk")


@dataclass(frozen=True)
class Verdict:
    """Whether a frame is night, and by what: attribute, luminance or list; time of day is "" where none is known."""

    night: bool
    by: str
    time_of_day: str
    luminance: float


def judge(
    luminance: Mapping[str, float],
    times: Mapping[str, str],
    *,
    threshold: float = NIGHT_LUMINANCE,
    listed: frozenset[str] | None = None,
    by: str = "attribute",
) -> dict[str, Verdict]:
    """A verdict for each id of `luminance`.

    Args:
        times: time of day by name (the id without its split), where it is known.
        listed: names or ids that are night; then nothing else is asked.
        by: "attribute" (luminance where there is none) or "luminance".
    """
    verdicts = {}
    for image_id, light in luminance.items():
        name = image_id.partition("/")[2]
        time = times.get(name, "")
        if listed is not None:
            verdicts[image_id] = Verdict(bool({image_id, name} & listed), "list", time, light)
        elif time in KNOWN_TIMES and by == "attribute":
            verdicts[image_id] = Verdict(time == "night", "attribute", time, light)
        else:
            verdicts[image_id] = Verdict(light < threshold, "luminance", time, light)
    return verdicts


def strangers(listed: frozenset[str], ids: Iterable[str]) -> list[str]:
    """Those of a list of night frames that are not among `ids`; a copy may lack some of a list made for another.

    Raises:
        InputError: they all are.
    """
    known = {name for i in ids for name in (i, i.partition("/")[2])}
    missing = sorted(listed - known)
    if len(missing) == len(listed):
        raise InputError(
            f"none of the {len(listed)} frame(s) that the night list names is there: {enumerate_some(missing, 5)}; "
            "write one name a line, as the image file's without its ending"
        )
    return missing


def agreement(verdicts: Iterable[Verdict], threshold: float = NIGHT_LUMINANCE) -> str:
    """How often luminance says what the attribute says, where there is one."""
    known = [v for v in verdicts if v.time_of_day in KNOWN_TIMES]
    if not known:
        return "no frame has a time of day, so luminance alone decided"
    both = sum(v.time_of_day == "night" and v.luminance < threshold for v in known)
    attribute = sum(v.time_of_day == "night" for v in known)
    dark = sum(v.luminance < threshold for v in known)
    same = len(known) - (attribute - both) - (dark - both)
    return (
        f"attribute and luminance (below {threshold:g}) agree on {same} of {len(known)} frames with a time of day "
        f"({100 * same / len(known):.1f} %): both say night {both}, the attribute alone {attribute - both}, luminance "
        f"alone {dark - both}"
    )


def read_list(path: Path) -> frozenset[str]:
    """Names of night frames, one a line, endings and comments left out. Raises InputError where it cannot be read."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the night list cannot be read ({error}); write one name a line, as UTF-8") from None
    names = {_without_ending(line) for line in lines if line and not line.startswith("#")}
    if not names:
        raise InputError(f"{path}: the night list is empty; write one name a line")
    return frozenset(names)


def read_times(files: Iterable[Path]) -> tuple[dict[str, str], list[str]]:
    """Time of day by name from BDD100K's JSON files: a list of frames, `{"frames": [...]}`, or one frame a file; and a
    line for each file that is no JSON."""
    times: dict[str, str] = {}
    damaged: list[str] = []
    for path in files:
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            damaged.append(f"{path}: cannot be read as JSON ({error}); extract it again")
            continue
        for frame in _frames(content):
            attributes = frame.get("attributes")
            time = attributes.get("timeofday") if isinstance(attributes, dict) else None
            name = _without_ending(str(frame.get("name", path.stem)))
            if isinstance(time, str) and (time in KNOWN_TIMES or name not in times):  # a file may not know it
                times[name] = time
    return times, damaged


def write_verdicts(path: Path, verdicts: Mapping[str, Verdict]) -> None:
    """Writes id, night (0 or 1), by what, time of day and luminance of every frame as CSV.

    Luminance with all its digits, since the next preparation reads it and must judge as this one.
    """
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "night", "by", "timeofday", "luminance"])
        for image_id, v in sorted(verdicts.items()):
            writer.writerow([image_id, int(v.night), v.by, v.time_of_day, repr(v.luminance)])


def read_luminance(path: Path) -> dict[str, float]:
    """Luminance by id as an earlier preparation wrote it down; empty where there is no such file."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {row["id"]: float(row["luminance"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError):
        return {}


def _frames(content: Any) -> Sequence[dict[str, Any]]:
    if isinstance(content, dict):  # a file of one frame has a list `frames` too, of objects, beside its attributes
        many = isinstance(content.get("frames"), list) and "attributes" not in content
        content = content["frames"] if many else [content]
    return [frame for frame in content if isinstance(frame, dict)] if isinstance(content, list) else []


def _without_ending(name: str) -> str:
    return name.removesuffix(".jpg").removesuffix(".png")
