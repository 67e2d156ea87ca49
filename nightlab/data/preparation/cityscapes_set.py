"""Cityscapes' finely labelled training and validation images, as the day set of joint training."""

from pathlib import Path

from nightlab.data.preparation.convert import Part
from nightlab.data.preparation.layouts import Layout, find
from nightlab.data.preparation.prepare import prepare, write_list
from nightlab.data.preparation.report import PartReport, write_reports

CITYSCAPES = Layout(
    tree="Cityscapes (leftImg8bit/SPLIT/CITY/X_leftImg8bit.png with gtFine/SPLIT/CITY/X_gtFine_labelIds.png)",
    images=r"leftImg8bit/(?P<split>train|val)/[^/]+/(?P<name>[^/]+)_leftImg8bit\.(?:png|jpe?g)",
    labels=(
        r"gtFine/(?P<split>train|val)/[^/]+/(?P<name>[^/]+)_gtFine_labelIds\.png",
        r"gtFine/(?P<split>train|val)/[^/]+/(?P<name>[^/]+)_gtFine_labelTrainIds\.png",
        r"gtFine/(?P<split>train|val)/[^/]+/(?P<name>[^/]+)_gtFine_color\.png",
    ),
)
EXPECTED = {"train": 2975, "val": 500}


def prepare_cityscapes(
    root: Path, output: Path, *, workers: int | None = None, progress: bool = True
) -> list[PartReport]:
    """Prepares both splits. Raises InputError as `find` and `prepare`."""
    download = find(root, [CITYSCAPES])
    part = Part("Cityscapes", "labels", ".png", download.images, download.labels, EXPECTED)
    report = prepare(part, output, workers=workers, progress=progress)
    report.remarks += download.remarks
    for split, ids in report.ids.items():
        write_list(output, split, ids, f"Cityscapes, {split}: {len(ids)} images")
    write_reports([report], output)
    return [report]
