"""NightCity, NightCity+ (its validation relabelled) and NightCity-fine: three sets of labels over one set of images."""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightlab.data.preparation.convert import Part
from nightlab.data.preparation.layouts import Download, Layout, find
from nightlab.data.preparation.old_labels import refuse_old_labels
from nightlab.data.preparation.prepare import prepare, split_of, write_list
from nightlab.data.preparation.report import PartReport, write_reports
from nightlab.errors import InputError

ORIGINAL = Layout(
    tree="NightCity (images/{train,val}/X.png with label/{train,val}/X_labelIds.png)",
    images=r"images/(?P<split>train|val)/(?P<name>[^/]+)\.(?:png|jpe?g)",
    labels=(
        r"labels?/(?P<split>train|val)/(?P<name>[^/]+)_labelIds\.png",
        r"labels?/(?P<split>train|val)/(?P<name>[^/]+?)(?:_labelIds)?_(?:labelT|t)rainIds\.png",
        r"labels?/(?P<split>train|val)/(?P<name>[^/]+)(?<!Ids)(?<!_color)\.png",
        r"color/(?P<split>train|val)/(?P<name>[^/]+?)(?:_color)?\.png",
    ),
)
FINE = Layout(
    tree="NightCity-fine ({train,val}/img/X.png with {train,val}/lbl/X_trainIds.png)",
    images=r"(?P<split>train|val)/img/(?P<name>[^/]+)\.(?:png|jpe?g)",
    labels=(
        r"(?P<split>train|val)/lbl/(?P<name>[^/]+?)(?:_labelIds)?_trainIds\.png",
        r"(?P<split>train|val)/lbl/(?P<name>[^/]+)_labelTrainIds\.png",
        r"(?P<split>train|val)/lbl/(?P<name>[^/]+)_labelIds\.png",
        r"(?P<split>train|val)/lbl/(?P<name>[^/]+)(?<!Ids)(?<!_color)\.png",
    ),
)
PLUS = Layout(
    tree="NightCity+ (val/X_labelIds.png)",
    images=None,
    labels=(
        r"(?P<split>val)/(?:[^/]+/)?(?P<name>[^/]+)_labelIds\.png",
        r"(?P<split>val)/(?:[^/]+/)?(?P<name>[^/]+?)(?:_labelIds)?_(?:labelT|t)rainIds\.png",
        r"(?P<split>val)/(?P<name>[^/]+)(?<!Ids)(?<!_color)\.png",
    ),
    bare=r"(?P<split>)(?P<name>[^/]+)_labelIds\.png",  # all of it is validation
    split="val",
)
EXPECTED = {"train": 2998, "val": 1299}
# A training image that some copies, and the first archive of NightCity+, have in validation.
MISPLACED = "Dubai_0016"
HELD_OUT = 10  # one image in so many


def prepare_nightcity(
    output: Path,
    original: Path | None = None,
    plus: Path | None = None,
    fine: Path | None = None,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> list[PartReport]:
    """Prepares what is given of the three; images come from `original` where an id has several.

    Raises:
        InputError: as `find`, `prepare` and `refuse_old_labels`; or `plus` comes without images.
    """
    downloads = {"": _found(original, [ORIGINAL]), "fine": _found(fine, [FINE])}
    images: dict[str, Path] = {}
    for download in downloads.values():
        images = (dict(download.images) if download else {}) | images
    parts: dict[str, Part] = {}
    remarks: dict[str, list[str]] = {}
    titles = {"": "NightCity", "fine": "NightCity-fine"}
    for name, download in downloads.items():
        if download:
            own = {i: images[i] for i in download.images}
            folder = f"labels_{name}" if name else "labels"
            parts[name] = Part(titles[name], folder, ".png", _in_place(own), _in_place(download.labels), EXPECTED)
            remarks[name] = _moved(download) + download.remarks
    if relabelled := _found(plus, [PLUS]):
        refuse_old_labels(relabelled, downloads[""], output / "labels")
        parts["plus"], remarks["plus"] = _plus(relabelled, images, output)
    if not parts:
        raise InputError("nothing to prepare; name --original, --plus or --fine FOLDER")
    reports = []
    for name, part in parts.items():
        report = prepare(part, output, workers=workers, progress=progress)
        report.remarks += remarks[name]
        _write_lists(output, name, report)
        reports.append(report)
    write_reports(reports, output)
    return reports


def _found(root: Path | None, layouts: Sequence[Layout]) -> Download | None:
    return find(root, layouts) if root else None


def _plus(relabelled: Download, images: dict[str, Path], output: Path) -> tuple[Part, list[str]]:
    """The new labels over the images of this call, or over those that an earlier one prepared; and remarks."""
    if not images:
        images = {f"val/{p.stem}": p for p in sorted((output / "images" / "val").glob("*.png"))}
    if not images:
        raise InputError(
            f"{relabelled.root}: NightCity+ has label maps only; name the folder of NightCity's images too, with "
            "--original or --fine"
        )
    own, labels = (
        {i: path for i, path in files.items() if split_of(i) == "val" and i != f"val/{MISPLACED}"}
        for files in (images, relabelled.labels)
    )
    remarks = []
    if path := relabelled.labels.get(f"val/{MISPLACED}"):
        remarks.append(f"{path}: {MISPLACED} is a training image, and NightCity+ is for validation; left out")
    return Part("NightCity+ validation", "labels_plus", ".png", own, labels, {"val": EXPECTED["val"]}), remarks


def _in_place(files: Mapping[str, Path]) -> dict[str, Path]:
    """The files, with the misplaced one among those for training."""
    moved = dict(files)
    if path := moved.pop(f"val/{MISPLACED}", None):
        moved.setdefault(f"train/{MISPLACED}", path)
    return moved


def _moved(download: Download) -> list[str]:
    """What to say where `_in_place` changes anything."""
    if not any(f"val/{MISPLACED}" in files for files in (download.images, download.labels)):
        return []
    twice = all(f"train/{MISPLACED}" in files for files in (download.images, download.labels))
    what = "also came in validation; that copy is left out" if twice else "came in validation, and is put into train"
    return [f"{MISPLACED} is a training image that {what}"]


def _write_lists(output: Path, name: str, report: PartReport) -> None:
    before = f"{name}_" if name else ""
    for split, ids in report.ids.items():
        write_list(output, before + split, ids, f"{report.title}, {split}: {len(ids)} images")
        if split == "train" and ids:
            write_held_out(output, before + split, ids, HELD_OUT)


def write_held_out(output: Path, name: str, ids: Sequence[str], one_in: int) -> None:
    """Splits a training list in two for good: about one in so many, by a checksum of the id, is held out as
    `<name>_held`.

    The same images whatever else is missing, so that runs and seeds agree on them.
    """
    held = [i for i in ids if zlib.crc32(i.encode()) % one_in == 0]
    fit = [i for i in ids if i not in set(held)]
    if not held or not fit:  # only of a handful of images
        held, fit = list(ids[:1]), list(ids[1:]) or list(ids)
    write_list(output, f"{name}_held", held, f"held out of {name}: {len(held)} images, for DATASETS.VAL")
    write_list(output, f"{name}_fit", fit, f"{name} without those held out: {len(fit)} images")
