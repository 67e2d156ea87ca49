"""Region studies of several seeds as one table and one plot: mean and spread by source and number of regions."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from tabulate import tabulate

from nightlab.errors import InputError
from nightlab.evaluation.bootstrap import interval_of_mean
from nightlab.evaluation.plots import figure_file, spread
from nightlab.evaluation.region_study import IMAGE_LEVEL, Row, row_figures
from nightlab.files import write_json

Key = tuple[str, int]
IMAGE_ROW: Key = (IMAGE_LEVEL, 0)
COUNTS, IDS = "counts", "image_ids"  # of a document as `read_study` gives it


def write_study(path: Path, document: dict[str, Any], rows: Mapping[Key, Row]) -> None:
    """Write a study's report as JSON, and beside it an .npz with image ids and the counts `[N, 3, K]` of each row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {IDS: np.array(list(next(iter(rows.values())).per_image))}
    for (source, number), row in rows.items():
        arrays[f"{source}|{number}"] = np.stack(list(row.per_image.values()))
    np.savez_compressed(path.with_suffix(".npz"), **arrays)
    write_json(path, {**document, "per_image": path.with_suffix(".npz").name})


def read_study(path: Path) -> dict[str, Any]:
    """A study as `write_study` left it, with the counts `[N, 3, K]` of each row by its key, and image ids.

    Raises:
        InputError: the file is no such study, or the counts beside it are missing.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_name(document["per_image"])) as arrays:
            ids = [str(image_id) for image_id in arrays[IDS]]
            counts = {
                (r["source"], r["max_regions"]): arrays[f"{r['source']}|{r['max_regions']}"] for r in document["rows"]
            }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a study that study_regions.py wrote, with its counts ({error})") from None
    return {**document, COUNTS: counts, IDS: ids}


def restricted(document: dict[str, Any], images: Collection[str]) -> dict[str, Any]:
    """A study of `read_study` over those of its images alone that are among `images`; numbers of regions and times, and
    what is said of the detector's score, stay those of all its images.

    Raises:
        InputError: none of them is in the study.
    """
    chosen = [i for i, image_id in enumerate(document[IDS]) if image_id in images]
    if not chosen:
        raise InputError(
            f"no image of the study of {document['dataset']} is among those {len(images)}; name a part of it"
        )
    classes = document["classes"]
    hard = [name in document["hard_classes"] for name in classes]
    counts = {key: found[chosen] for key, found in document[COUNTS].items()}
    rows = [
        {**row, **row_figures(counts[row["source"], row["max_regions"]].sum(axis=0), classes, hard)}
        for row in document["rows"]
    ]
    ids = [document[IDS][i] for i in chosen]
    return {**document, "images": len(chosen), "rows": rows, COUNTS: counts, IDS: ids}


def collect(documents: Sequence[dict[str, Any]]) -> dict[Key, list[dict[str, Any]]]:
    """The rows of several studies by (source, most regions), in the first one's order.

    Raises:
        InputError: the studies differ in their rows, hard classes or number of images.
    """
    first = documents[0]
    for document in documents[1:]:
        for field in ("hard_classes", "images", "dataset"):
            if document.get(field) != first.get(field):
                raise InputError(
                    f"studies differ in {field}: {first.get(field)} and {document.get(field)}; compare like with like"
                )
    rows: dict[Key, list[dict[str, Any]]] = {}
    for document in documents:
        for row in document["rows"]:
            rows.setdefault((row["source"], row["max_regions"]), []).append(row)
    short = [key for key, found in rows.items() if len(found) != len(documents)]
    if short:
        raise InputError(f"not every study has a row {short[0][0]}, {short[0][1]} regions; run them with equal options")
    return rows


def study_table(documents: Sequence[dict[str, Any]], number: int | None = None) -> str:
    """A Markdown table of all sources at one number of regions (the largest by default), mean ± deviation.

    Of documents with counts also the difference of mIoU to the image level, with its 95 % interval over images.
    """
    counted = all(COUNTS in document for document in documents)
    lines = []
    for (source, n), found in _at(collect(documents), number).items():
        time = np.mean([row["time_over_image_level"] for row in found])
        lines.append(
            [
                source,
                f"{np.mean([row['regions_per_image'] for row in found]):.1f}",
                *(spread([row[key] for row in found]) for key in ("mIoU", "mIoU-hard", "mIoU-easy")),
                *([_difference(documents, (source, n), IMAGE_ROW)] if counted else []),
                f"{time:.2f}",
            ]
        )
    headers = [
        "regions from",
        "regions",
        "mIoU",
        "hard",
        "easy",
        *(["minus image level"] if counted else []),
        "time on top",
    ]
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def _at(rows: dict[Key, Any], number: int | None) -> dict[Key, Any]:
    """The rows of one number of regions, None being the largest, and those without any.

    Raises:
        InputError: that number was not studied.
    """
    studied = sorted({n for _, n in rows})
    most = number if number is not None else studied[-1]
    if most not in studied:
        raise InputError(f"--regions: {most} were not studied; take one of {', '.join(map(str, studied))}")
    return {key: found for key, found in rows.items() if key[1] in (0, most)}


def _difference(documents: Sequence[dict[str, Any]], key: Key, other: Key, classes: Any = slice(None)) -> str:
    """Of a row to another one, over some classes; nothing to itself."""
    if key == other:
        return ""
    counts, before = ([document[COUNTS][k][..., classes] for document in documents] for k in (key, other))
    return str(interval_of_mean(counts, before))


def difference_table(documents: Sequence[dict[str, Any]], source: str, number: int | None = None) -> str:
    """A Markdown table of one source minus every other one at one number of regions (the largest by default): of mIoU
    and of the mean over the hard classes, with 95 % intervals over images of the paired difference.

    Raises:
        InputError: the studies have no such source.
    """
    rows = _at(collect(documents), number)
    mine = next((key for key in rows if key[0] == source), None)
    if mine is None:
        most = max(n for _, n in rows)
        raise InputError(f"no row '{source}' with {most} regions; there are {', '.join(name for name, _ in rows)}")
    hard = np.isin(documents[0]["classes"], documents[0]["hard_classes"])
    lines = [
        [key[0], *(_difference(documents, mine, key, classes) for classes in (slice(None), hard))]
        for key in rows
        if key != mine
    ]
    headers = [f"{source} minus", "mIoU", "hard"]
    return tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)


def auc_line(documents: Sequence[dict[str, Any]]) -> str:
    """How well the detector's score tells regions that gain from those that lose."""
    known = [document["auc"] for document in documents if document.get("auc") is not None]
    if not known:
        return "The detector found no regions of both kinds, so its score has no AUC."
    gains = [document["share_with_gain"] for document in documents if document.get("share_with_gain") is not None]
    return (
        f"AUC of the detector's score for true gain: {spread(known)}; share of its regions with gain: {spread(gains)}"
    )


def draw_study(documents: Sequence[dict[str, Any]], output: Path) -> None:
    """Two plots beside each other, mIoU over the number of regions and over the time on top, as .png or .svg."""
    rows = collect(documents)
    with figure_file(output, (9, 4)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for i, source in enumerate(dict.fromkeys(source for source, _ in rows)):
            color = colormaps["tab20"](i % 20)  # of both plots: they share the legend
            found = sorted((n, group) for (s, n), group in rows.items() if s == source)
            mean = np.array([np.mean([row["mIoU"] for row in group]) for _, group in found])
            time = [1 + np.mean([row["time_over_image_level"] for row in group]) for _, group in found]
            number = [np.mean([row["regions_per_image"] for row in group]) for _, group in found]
            if len(found) == 1:
                left.axhline(mean[0], linestyle=":", color=color)
                right.plot(time, mean, "x", color=color, label=source)
            else:
                left.plot(number, mean, ".-", color=color)
                right.plot(time, mean, ".-", color=color, label=source)
        left.set(xlabel="regions per image", ylabel="mIoU (%)")
        right.set(xlabel="time, image level = 1")
        right.legend(fontsize=7)
