"""detectron2's SemSegEvaluator for NightLab: both levels, hard and easy classes, calibration; counts only."""

import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.evaluation import SemSegEvaluator
from detectron2.utils import comm
from tabulate import tabulate

from nightlab.errors import InputError
from nightlab.evaluation.calibration import BINS, as_json, bin_counts, expected_error
from nightlab.evaluation.image_counts import ImageCounts, in_order
from nightlab.evaluation.metrics import class_counts, confusion_matrix, summarize
from nightlab.evaluation.pictures import write_image
from nightlab.files import write_json_aside, written_aside
from nightlab.modeling.scored import decision

LEVELS = ("sem_seg", "sem_seg_image_level")

logger = logging.getLogger(__name__)


class NightLabEvaluator(SemSegEvaluator):
    """Accumulates per level one confusion matrix and counts per bin of confidence, and per image 3 x K counts for
    intervals; never a prediction, which goes to the disk or nowhere. Levels are log-probabilities, whose largest is the
    confidence, or labels with theirs.

    The ground truth is the input's own `sem_seg`, which `TestMapper` reads, so that data loaders share the work and
    every source of scenes can be evaluated. Levels that the model does not return are left out of the result.
    """

    def __init__(
        self,
        name: str,
        classes: Sequence[str],
        hard: Sequence[bool] | np.ndarray,
        *,
        output: str | Path | None = None,
        extra: dict[str, Any] | None = None,
        predictions: bool = False,
        distributed: bool = True,
    ):
        """
        Args:
            name: the data set's name, for the table and the file.
            hard: for each class whether it counts as hard.
            output: a JSON file to write, with `<stem>_per_image.npz` beside it (image ids and counts `[N, 3, K]`).
            extra: more entries of that file, as the checkpoint's name and iteration.
            predictions: also write each image's class ids as `predictions/<stem>/<image id>.png` beside that file.
            distributed: gather over processes; every process then calls `evaluate`.
        """
        self._dataset_name = name
        self._class_names = list(classes)
        self._num_classes = len(self._class_names)
        self._hard = np.asarray(hard, bool)
        self._output = Path(output) if output else None
        self._extra = extra or {}
        self._predictions = (
            self._output.parent / "predictions" / self._output.stem if self._output and predictions else None
        )
        self._distributed = distributed
        self.reset()

    def reset(self) -> None:
        shape = (self._num_classes, self._num_classes)
        self._confusion = {level: np.zeros(shape, np.int64) for level in LEVELS}
        self._bins = {level: np.zeros((3, BINS)) for level in LEVELS}
        self._per_image = {level: ImageCounts(self._num_classes) for level in LEVELS}

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        for given, output in zip(inputs, outputs, strict=True):
            label = given["sem_seg"].numpy()
            for level in LEVELS:
                found = decision(output, level.removeprefix("sem_seg"))
                if found is None:
                    continue
                prediction, confidence = found
                labels = prediction.cpu().numpy()
                if self._predictions and level == "sem_seg":
                    write_labels(self._predictions, given["image_id"], labels)
                confusion = confusion_matrix(labels, label, self._num_classes)
                self._confusion[level] += confusion
                truth = given["sem_seg"].to(prediction.device, non_blocking=True)
                counted = (truth >= 0) & (truth < self._num_classes)
                # Log-probabilities that were merged exceed 0 by a rounding.
                bins = bin_counts(confidence.clamp(max=1), prediction == truth, counted)
                self._bins[level] += bins.cpu().numpy()
                self._per_image[level].add(given["image_id"], class_counts(confusion))

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Figures in percent per level, as `summarize` gives them, and the expected calibration error as `ECE`; None
        on all but the first process."""
        counts = {level: (kept.ids, kept.rows) for level, kept in self._per_image.items()}
        parts = [(self._confusion, counts, self._bins)]
        if self._distributed:
            comm.synchronize()
            parts = comm.gather(parts[0])
            if not comm.is_main_process():
                return None
        results: OrderedDict[str, dict[str, float]] = OrderedDict()
        confusions, per_image, bins = {}, {}, {}
        for level in LEVELS:
            images = [part[level] for _, part, _ in parts]
            if any(ids for ids, _ in images):
                confusions[level] = np.sum([confusion[level] for confusion, _, _ in parts], axis=0)
                bins[level] = np.sum([part[level] for _, _, part in parts], axis=0)
                per_image[level] = in_order(images)
                results[level] = summarize(confusions[level], self._class_names, self._hard)
                results[level]["ECE"] = 100 * expected_error(bins[level])
        if self._output:
            self._write(self._output, results, confusions, per_image, bins)
        return results

    def _write(
        self,
        output: Path,
        results: dict[str, Any],
        confusions: dict[str, Any],
        per_image: dict[str, Any],
        bins: dict[str, Any],
    ) -> None:
        output.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {}
        for level, (ids, counts) in per_image.items():
            arrays |= {"image_ids": ids, level: counts}
        counts_file = output.with_name(f"{output.stem}_per_image.npz")
        with written_aside(counts_file) as aside:
            np.savez_compressed(aside, **arrays)
        document = {
            "dataset": self._dataset_name,
            **self._extra,
            "classes": self._class_names,
            "hard_classes": [c for c, hard in zip(self._class_names, self._hard, strict=True) if hard],
            "absent_classes": _absent(results, self._class_names),
            "images": len(arrays.get("image_ids", ())),
            "results": {level: _without_nan(values) for level, values in results.items()},
            "confusion_matrix": {level: matrix.tolist() for level, matrix in confusions.items()},
            "calibration": {level: as_json(counts) for level, counts in bins.items()},
            "per_image": counts_file.name,
        }
        if self._predictions:
            document["predictions"] = str(self._predictions.relative_to(output.parent))
        write_json_aside(output, document)


def evaluation_file(cfg: CfgNode, name: str, kind: str) -> Path:
    """Where the figures of a checkpoint (best, last, eval) on a data set are kept, in the run's folder OUTPUT_DIR."""
    suffix = "_multi_scale" if cfg.TEST.AUG.ENABLED else ""
    return Path(cfg.OUTPUT_DIR, "evaluation", name, f"{kind}{suffix}.json")


def results_table(results: dict[str, dict[str, float]], classes: Sequence[str], hard: Sequence[bool]) -> str:
    """A table of IoU per class and the means, in percent; hard classes are starred, absent ones dashed and named."""
    levels = list(results)
    rows = [
        [f"{name} *" if is_hard else name] + [_percent(results[level][f"IoU-{name}"]) for level in levels]
        for name, is_hard in zip(classes, hard, strict=True)
    ]
    for figure in ("mIoU", "mIoU-hard", "mIoU-easy", "pACC", "ECE"):
        rows.append([figure] + [_percent(results[level][figure]) for level in levels])
    headers = ["class (* hard)"] + [
        level.replace("sem_seg_image_level", "image level").replace("sem_seg", "IoU") for level in levels
    ]
    table = tabulate(rows, headers=headers, tablefmt="simple", stralign="right", disable_numparse=True)
    absent = _absent(results, classes)
    return f"{table}\nnot in the ground truth, nor in the means: {', '.join(absent)}" if absent else table


def _absent(results: dict[str, dict[str, float]], classes: Sequence[str]) -> list[str]:
    """The classes that the ground truth has no pixel of."""
    return [name for name in classes if any(math.isnan(figures[f"IoU-{name}"]) for figures in results.values())]


def write_labels(folder: Path, image_id: str, labels: np.ndarray) -> None:
    """Write class ids `[H, W]` as `<image id>.png`; an id may name folders.

    Raises:
        InputError: the id leads out of `folder`.
    """
    path = folder / f"{image_id}.png"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{image_id}: an image of this id has no place in {folder}; set TEST.PREDICTIONS False")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, labels.astype(np.uint8))


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {key: None if math.isnan(value) else round(value, 4) for key, value in values.items()}
