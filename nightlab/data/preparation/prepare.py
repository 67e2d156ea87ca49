"""Pairs of images and label maps, from a download into the prepared tree: linked, converted, checked, reported.

The prepared tree of a data set is `images/<id>.<ending>`, `<label folder>/<id>.png` in train ids at the size of the
image, and `lists/<split>.txt`. A second call converts only what changed.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nightlab.data.preparation import id_spaces
from nightlab.data.preparation.convert import Converter, Part
from nightlab.data.preparation.layouts import STATE
from nightlab.data.preparation.parallel import in_parallel
from nightlab.data.preparation.report import PartReport
from nightlab.errors import InputError
from nightlab.files import write_json_aside, written_aside


def prepare(part: Part, output: Path, *, workers: int | None = None, progress: bool = True) -> PartReport:
    """Brings one part into the prepared tree and says which ids are there.

    Raises:
        InputError: the part has no pair, its label maps are in no known id space or in several, or the output would
            overwrite the download.
    """
    report = PartReport(part.title, dict(part.expected))
    pairs = _pairs(part, report)
    _refuse_overwriting(part, pairs, output)
    output.mkdir(parents=True, exist_ok=True)
    state = _read_state(output)
    for split in dict.fromkeys(split_of(i) for i in pairs):
        ids = [i for i in pairs if split_of(i) == split]
        seen = _look_at_labels(part, ids, report, workers, progress)
        space, remark = id_spaces.decide(seen)
        found = id_spaces.describe(seen)
        report.spaces[split] = space if space == found else f"{space}, {found}"
        report.ids[split] = []
        report.remarks += [f"{split}: {remark}"] if remark else []
        key = f"{part.labels_folder}/{split}"
        unchanged = state.get(key) == space
        convert = Converter(part, output, space, unchanged)
        usable = [i for i in ids if part.labels[i] in seen]
        for image_id, outcome in zip(
            usable, in_parallel(convert, usable, f"{part.title}, {split}", workers, progress), strict=True
        ):
            report.add(split, image_id, outcome)
        state = {**state, key: space}
        write_json_aside(output / STATE, state)
    if not any(report.ids.values()):
        raise InputError(f"{output}: no usable pair of {part.title}; " + "; ".join(report.faults[:3]))
    return report


def split_of(image_id: str) -> str:
    return image_id.partition("/")[0]


def write_list(output: Path, name: str, ids: Sequence[str], about: str) -> None:
    """Writes `lists/<name>.txt`, one id a line under a comment. Without an id, that of an earlier preparation goes, and
    its two parts: what they name is no longer so."""
    path = output / "lists" / f"{name}.txt"
    if not ids:
        for suffix in ("", "_fit", "_held"):
            path.with_name(f"{name}{suffix}.txt").unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path) as aside:
        aside.write_text(f"# {about}\n" + "".join(f"{i}\n" for i in ids), encoding="utf-8")


def _pairs(part: Part, report: PartReport) -> list[str]:
    """Ids with both files, sorted; the others are told in the report, and those in two splits stay in training."""
    both = part.images.keys() & part.labels.keys()
    names = Counter(i.partition("/")[2] for i in part.images)
    for image_id in sorted(part.labels.keys() - part.images.keys()):
        name = image_id.partition("/")[2]
        elsewhere = " (the image of this name is in another split)" if names[name] else ""
        report.unpaired.append(f"{part.labels[image_id]}: a label map without an image{elsewhere}, left out")
    splits_labelled = {split_of(i) for i in part.labels}
    for image_id in sorted(part.images.keys() - part.labels.keys()):
        if split_of(image_id) in splits_labelled:
            report.unpaired.append(f"{part.images[image_id]}: an image without a label map, left out")
    kept = []
    for image_id in sorted(both):
        split, _, name = image_id.partition("/")
        if split != "train" and f"train/{name}" in both:
            report.unpaired.append(f"{part.images[image_id]}: also in train, left out of {split}")
        else:
            kept.append(image_id)
    if not kept:
        raise InputError(
            f"{part.title}: none of {len(part.labels)} label maps has an image among {len(part.images)}; check that "
            "both archives are of this data set and whole"
        )
    return kept


def _look_at_labels(
    part: Part, ids: Sequence[str], report: PartReport, workers: int | None, progress: bool
) -> dict[Path, id_spaces.Seen]:
    """What each readable label file holds; the others are faults."""

    def look(image_id: str) -> id_spaces.Seen | str:
        try:
            return id_spaces.look(part.labels[image_id])
        except InputError as error:
            return str(error)

    seen: dict[Path, id_spaces.Seen] = {}
    title = f"{part.title}, {split_of(ids[0])}, reading labels"
    for image_id, found in zip(ids, in_parallel(look, ids, title, workers, progress), strict=True):
        if isinstance(found, str):
            report.faults.append(found)
        else:
            seen[part.labels[image_id]] = found
    return seen


def _refuse_overwriting(part: Part, pairs: Sequence[str], output: Path) -> None:
    """Nothing of the download may be lost: a prepared label map must not take the place of a raw one."""
    raw = {os.path.realpath(path) for path in part.labels.values()}
    for image_id in pairs:
        target = part.label_in(output, image_id)
        if os.path.realpath(target) in raw:
            raise InputError(f"{target}: is a file of the download itself; name another --output")


def _read_state(output: Path) -> dict[str, Any]:
    """Which id space each split was converted from last time; empty where it is not known, so that all is done anew."""
    try:
        content = json.loads((output / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
