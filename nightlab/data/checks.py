"""Checks a whole data set: every image and label is read, every fault is listed, classes and light are summed up."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from nightlab.data import cityscapes, reading
from nightlab.data.cards import Card
from nightlab.data.catalog import Source
from nightlab.errors import InputError, enumerate_some


@dataclass
class SplitReport:
    """What one split holds.

    Attributes:
        faults: one line for each thing that stops training, each with its file and remedy.
        warnings: one line for each thing that is allowed and rarely meant.
        class_pixels, class_images: pixels of each class and images that show it, [K].
        sizes: "WIDTHxHEIGHT" to number of images.
        luminance: mean luminance (Rec. 601, 0 to 255) of each readable image.
    """

    name: str
    classes: tuple[str, ...]
    images: int = 0
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    class_pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    class_images: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    ignored_pixels: int = 0
    sizes: Counter[str] = field(default_factory=Counter)
    luminance: list[float] = field(default_factory=list)

    @property
    def class_weights(self) -> list[float]:
        """A start for MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS: (median frequency / frequency)^0.5, at most 5, [K].

        1 for classes without a pixel.
        """
        present = self.class_pixels > 0
        if not present.any():
            return [1.0] * len(self.classes)
        weights = np.sqrt(np.median(self.class_pixels[present]) / np.maximum(self.class_pixels, 1)).clip(max=5)
        return np.where(present, weights, 1).round(2).tolist()

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, lists and strings."""
        light = np.percentile(self.luminance, (10, 50, 90)).round(2).tolist() if self.luminance else [None] * 3
        return {
            "name": self.name,
            "images": self.images,
            "faults": self.faults,
            "warnings": self.warnings,
            "class_pixels": dict(zip(self.classes, self.class_pixels.tolist(), strict=True)),
            "class_images": dict(zip(self.classes, self.class_images.tolist(), strict=True)),
            "class_weights": self.class_weights,
            "ignored_pixels": self.ignored_pixels,
            "sizes": dict(self.sizes.most_common()),
            "luminance": dict(zip(("p10", "median", "p90"), light, strict=True)),
        }

    def __str__(self) -> str:
        """A paragraph for a person: the counts, a line for each class, then warnings and faults."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        sizes = enumerate_some([f"{size} ({n})" for size, n in self.sizes.most_common()], 4)
        yield f"{self.name}: {self.images} images; sizes {sizes or 'unknown'}"
        if self.luminance:
            low, middle, high = np.percentile(self.luminance, (10, 50, 90))
            yield f"  mean luminance (0 to 255): median {middle:.0f}, 10 % below {low:.0f}, 10 % above {high:.0f}"
        labelled = int(self.class_pixels.sum()) + self.ignored_pixels
        if labelled:
            for name, pixels, images in zip(self.classes, self.class_pixels, self.class_images, strict=True):
                yield f"  {name:<16}{100 * pixels / labelled:7.2f} % of the pixels, in {images} images"
            yield f"  {'(ignored)':<16}{100 * self.ignored_pixels / labelled:7.2f} %"
            yield f"  balanced CLASS_WEIGHTS: [{', '.join(f'{weight:g}' for weight in self.class_weights)}]"
        yield from (f"  warning: {line}" for line in self.warnings)
        yield from (f"  fault: {line}" for line in self.faults)
        yield f"  {len(self.faults) or 'no'} fault{'' if len(self.faults) == 1 else 's'}"


@dataclass
class _Finding:
    """What one record gave."""

    faults: list[str] = field(default_factory=list)
    size: str | None = None
    luminance: float | None = None
    counts: np.ndarray | None = None


def check_source(
    source: Source, splits: Sequence[str] | None = None, workers: int | None = None, progress: bool = True
) -> list[SplitReport]:
    """Reads every image and label of some splits (all by default), in parallel threads.

    Raises:
        InputError: the source has no such split, or no root folder. Faults of files are reported, not raised.
    """
    chosen = source.splits if splits is None else tuple(splits)
    for split in chosen:
        if split not in source.splits:
            raise InputError(f"data set '{source.name}' has no split '{split}', only {', '.join(source.splits)}")
    if isinstance(source, Card):
        source.check_folder()
    listed: dict[str, list[dict[str, Any]]] = {}
    reports = []
    for split in chosen:
        report = SplitReport(f"{source.name}_{split}", source.classes)
        report.class_pixels, report.class_images = np.zeros((2, len(source.classes)), np.int64)
        try:
            listed[split] = source.records(split)
            _check_records(source, listed[split], report, workers or os.cpu_count() or 1, progress)
            if isinstance(source, Card):
                report.warnings += _wrong_ids(source, report)
                report.warnings += [f"{path}: a label without an image" for path in source.orphan_labels(split)]
        except InputError as error:
            report.faults.append(str(error))
        reports.append(report)
    for report, split in zip(reports, chosen, strict=True):
        report.warnings += _leaks(split, listed)
    return reports


def _check_records(
    source: Source, records: list[dict[str, Any]], report: SplitReport, workers: int, progress: bool
) -> None:
    report.images = len(records)
    if not records:
        report.faults.append(f"data set '{report.name}' is empty; add images to its split")
    pool = ThreadPoolExecutor(workers)  # threads, since decoders and numpy release the interpreter lock
    try:
        findings = pool.map(lambda record: _check_record(source, record), records)
        bar = tqdm(findings, desc=report.name, total=len(records), unit="image", disable=None if progress else True)
        for record, finding in zip(records, bar, strict=True):
            _add(report, record, finding)
    finally:
        pool.shutdown(cancel_futures=True)  # an interruption need not wait for all images


def _check_record(source: Source, record: dict[str, Any]) -> _Finding:
    finding = _Finding()
    image = _try(lambda: source.read_image(record), finding)
    if image is not None:
        finding.size = f"{image.shape[1]}x{image.shape[0]}"
        finding.luminance = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean())
    if isinstance(source, Card) and source.labels is None:
        return finding
    label = _try(lambda: source.read_label(record), finding)
    if label is not None:
        finding.counts = np.bincount(label.ravel(), minlength=256)
        if image is not None:
            _try(lambda: reading.check_pair(image, label, record), finding)
    return finding


def _try(read: Callable[[], np.ndarray | None], finding: _Finding) -> np.ndarray | None:
    try:
        return read()
    except InputError as error:
        finding.faults.append(str(error))
        return None


def _add(report: SplitReport, record: dict[str, Any], finding: _Finding) -> None:
    report.faults += finding.faults
    if finding.size is not None and finding.luminance is not None:
        report.sizes[finding.size] += 1
        report.luminance.append(finding.luminance)
    if finding.counts is not None:
        classes = finding.counts[: len(report.classes)]
        report.class_pixels += classes
        report.class_images += classes > 0
        report.ignored_pixels += int(finding.counts.sum() - classes.sum())
        if not classes.any():
            path = record.get("sem_seg_file_name", record["file_name"])
            report.warnings.append(f"{path}: every pixel is ignored, so the image teaches and measures nothing")


def _wrong_ids(card: Card, report: SplitReport) -> list[str]:
    """A warning where a card reads label ids, and its label maps may hold train ids, which are label ids too."""
    trained = {raw: i for raw, i in cityscapes.LABEL_IDS_TO_TRAIN_IDS.items() if i != cityscapes.IGNORE_LABEL}
    if {raw: i for raw, i in card.raw_to_class if i != card.ignore_label} != trained:
        return []
    beyond = [i for raw, i in trained.items() if raw >= len(trained)]
    if not report.ignored_pixels or report.class_pixels[beyond].any():
        return []
    return [
        f"no label map holds an id beyond {len(trained) - 1}, as train ids do not, and {card.where} reads label ids; "
        "leave out its label_map if these are train ids"
    ]


def _leaks(split: str, listed: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Warnings for images of a training split that another, evaluated, split holds too."""
    if "train" not in split or split not in listed:
        return []
    own = {record["file_name"] for record in listed[split]}
    warnings = []
    for other in listed:
        shared = sorted(own & {record["file_name"] for record in listed[other]}) if "train" not in other else []
        if shared:
            warnings.append(
                f"split '{other}' shares {len(shared)} image(s) with '{split}': {enumerate_some(shared, 3)}"
            )
    return warnings
