"""What the detector is worth: one checkpoint, its regions taken from many sources, at every number of regions.

All rows share the image level's pass and one region level; each source's regions are segmented once and merged for
every number of regions. The image level's own answer on the same crops stands beside the oracles, which are flattered
by selection.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nightlab.benchmark.timing import synchronize
from nightlab.evaluation.hardness_check import scored_gains
from nightlab.evaluation.metrics import area_under_roc, class_counts, confusion_matrix, summarize_counts
from nightlab.evaluation.tta import NightLabWithTTA
from nightlab.modeling import merge as merging
from nightlab.modeling.hardness import HardnessDetector
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.losses import UNUSED
from nightlab.modeling.nightlab import ORACLES, NightLab
from nightlab.modeling.regions import choose, crop_and_zoom
from nightlab.modeling.sources import SOURCES, Candidates, moved_at_random

IMAGE_LEVEL = "image level"
# The image level itself on the crops that an oracle chose, all K classes replaced.
CONTROL = " (image level on the crops)"


@dataclass
class Row:
    """Counts of one source at one number of regions.

    Attributes:
        confusion: int64 [K, K].
        per_image: image id to int64 [3, K], for intervals.
        regions: regions pasted, over all images.
        seconds: time of what comes on top of the image level, over all images.
    """

    confusion: np.ndarray
    per_image: dict[str, np.ndarray] = field(default_factory=dict)
    regions: int = 0
    seconds: float = 0.0

    def add(self, image_id: str, prediction: Tensor, label: np.ndarray) -> None:
        confusion = confusion_matrix(prediction.cpu().numpy(), label, len(self.confusion))
        self.confusion += confusion
        self.per_image[image_id] = class_counts(confusion)


class RegionStudy:
    """Feed it a model and inputs with `sem_seg`; read `rows` and `report`."""

    def __init__(
        self,
        model: NightLab,
        classes: Sequence[str],
        sources: Sequence[str],
        numbers: Sequence[int],
        scales: Sequence[float] = (),
        beside: Mapping[str, NightLab] | None = None,
        detectors: Mapping[str, HardnessDetector] | None = None,
    ):
        """
        Args:
            sources: of `REGION_SOURCES`; those that the model cannot serve raise as the model does.
            numbers: how many regions at most, each a row.
            scales: one more row, the image level averaged over these factors of the test size.
            beside: other image levels by the names of their rows, as one that was trained for longer.
            detectors: other detectors on the same levels, by the names of their rows, as the RDN that HDM began as.
        """
        self.model = model.eval()
        self.classes = list(classes)
        self.detectors = {name: detector.eval() for name, detector in (detectors or {}).items()}
        self.sources = [source for source in dict.fromkeys((*sources, *self.detectors)) if source != "none"]
        self.numbers = sorted(set(numbers))
        self.scales = tuple(scales)
        self.multi_scale = NightLabWithTTA(model, scales=self.scales, flip=False) if scales else None
        self.beside = {name: other.eval() for name, other in (beside or {}).items()}
        self.rows: dict[tuple[str, int], Row] = {}
        self.images = 0
        self.image_seconds = 0.0
        # Score and true gain of the detector's best regions, whatever SCORE_THRESH, for the AUC.
        self.scores: list[float] = []
        self.gains: list[float] = []

    def row(self, source: str, number: int) -> Row:
        size = (len(self.classes), len(self.classes))
        return self.rows.setdefault((source, number), Row(np.zeros(size, np.int64)))

    @torch.no_grad()
    def add(self, given: dict[str, Any]) -> None:
        """Count one input, as `TestMapper` gives it, in all rows."""
        label, image_id = given["sem_seg"].numpy(), given["image_id"]
        start = self._now()
        image = self.model.image_pass(given["image"].to(self.model.device).float())
        before = image.log_probabilities
        once = self._now() - start
        self.image_seconds += once
        self.images += 1
        self.row(IMAGE_LEVEL, 0).add(image_id, before.argmax(dim=0), label)
        if self.multi_scale:
            start = self._now()
            average = self.multi_scale.average(given)
            row = self.row(f"image level, scales {', '.join(f'{scale:g}' for scale in self.scales)}", 0)
            row.seconds += self._now() - start - once  # it takes the place of the one pass
            row.add(image_id, average.argmax(dim=0), label)
        for name, other in self.beside.items():
            self.row(name, 0).add(image_id, other.image_pass(image.frame).log_probabilities.argmax(dim=0), label)
        for source in self.sources:
            start = self._now()
            found = self._found(source, image, given)
            boxes, spent = found.boxes, self._now() - start
            if source == "detector":
                scores, gains = scored_gains(self.model, image, given["sem_seg"], found)
                self.scores += scores
                self.gains += gains
                boxes = boxes[found.scores >= self.model.score_thresh]  # as before NMS: it keeps the best first
            self._count(source, image, given, boxes, spent)
            if source in ORACLES:
                self._count_control(source, image, given, boxes)

    def _now(self) -> float:
        """The time in seconds, once the device has done what it was given."""
        synchronize(self.model.device)
        return time.perf_counter()

    def _found(self, source: str, image: ImagePass, given: dict[str, Any]) -> Candidates:
        """The best regions of a source; "random" are the detector's at other places, where there is one."""
        if source != "random" or self.model.detector is None:
            return self._best(self._candidates(source, image, given))
        found = self._best(self.model.detected(image))
        found = Candidates(*(part[found.scores >= self.model.score_thresh] for part in found[:2]))
        return found._replace(boxes=moved_at_random(found.boxes, self.model.view(image, given)))

    def _candidates(self, source: str, image: ImagePass, given: dict[str, Any]) -> Candidates:
        view = self.model.view(image, given)._replace(max_regions=self.numbers[-1])
        if source == "detector" or source in self.detectors:
            return self.model.detected(image, self.detectors.get(source))
        if source == "gain":
            return self.model.gain_oracle(image, view)
        return SOURCES[source](view)

    def _best(self, candidates: Candidates) -> Candidates:
        index = choose(
            candidates.boxes,
            candidates.scores,
            max_regions=self.numbers[-1],
            nms_thresh=self.model.nms_thresh,
            score_thresh=-1.0,
        )
        return Candidates(candidates.boxes[index], candidates.scores[index])

    def _count(self, source: str, image: ImagePass, given: dict[str, Any], boxes: Tensor, spent: float) -> None:
        """Merge the best 1, 2, ... of the boxes; their time is shared out by their number."""
        start = self._now()
        logits = self.model.region_logits([image.frame], [boxes])[0]
        each = (self._now() - start) / max(len(boxes), 1)
        for number in self.numbers:
            start = self._now()
            merged = self.model.merge(image.log_probabilities, logits[:number], boxes[:number])
            row = self.row(source, number)
            row.seconds += spent + each * len(boxes[:number]) + self._now() - start
            row.regions += len(boxes[:number])
            row.add(given["image_id"], merged.argmax(dim=0), given["sem_seg"].numpy())

    def _count_control(self, source: str, image: ImagePass, given: dict[str, Any], boxes: Tensor) -> None:
        """The same boxes, answered by the image level: what choosing by the truth gives without a region level."""
        assert self.model.rule is not None
        start, number = self._now(), self.numbers[-1]
        merged = image.log_probabilities
        if len(boxes):
            crops = crop_and_zoom(image.frame, boxes, self.model.rule.crop_size)
            logits = self.model.adjusted(self.model.image_level(crops).logits)
            logits = self.model.image_level.at_image_size(logits, self.model.rule.crop_size)
            # All classes are in use, so *other* gets nothing.
            logits = torch.cat([logits, torch.full_like(logits[:, :1], UNUSED)], dim=1)
            pasted = merging.paste(logits, boxes, image.size)
            used = [True] * len(self.model.hard_class_mask)
            merged = merging.merge(merged, pasted, merging.MergeRule(used, "replace"))
        row = self.row(source + CONTROL, number)
        row.seconds += self._now() - start
        row.regions += len(boxes)
        row.add(given["image_id"], merged.argmax(dim=0), given["sem_seg"].numpy())

    def report(self) -> dict[str, Any]:
        """Figures of all rows, in percent, and what the detector's score says about gain."""
        hard = self.model.hard_class_mask.cpu().numpy()
        rows = []
        for (source, number), row in self.rows.items():
            rows.append(
                {
                    "source": source,
                    "max_regions": number,
                    "regions_per_image": row.regions / self.images,
                    # What is needed on top of one pass of the image level.
                    "time_over_image_level": row.seconds / self.image_seconds,
                    **row_figures(class_counts(row.confusion), self.classes, hard),
                }
            )
        gains = np.array(self.gains)
        return {
            "images": self.images,
            "classes": self.classes,
            "hard_classes": [name for name, is_hard in zip(self.classes, hard, strict=True) if is_hard],
            "seconds_per_image": self.image_seconds / max(self.images, 1),
            "auc": area_under_roc(np.array(self.scores), gains > 0),
            "share_with_gain": float((gains > 0).mean()) if len(gains) else None,
            "mean_gain": float(gains.mean()) if len(gains) else None,
            "rows": rows,
        }


def row_figures(counts: np.ndarray, classes: Sequence[str], hard: Sequence[bool] | np.ndarray) -> dict[str, Any]:
    """What a row says of counts `[3, K]`: the means, None over no class, and the IoU of each class that is present."""
    figures = summarize_counts(counts, classes, hard)
    means = {key: figures[key] for key in ("mIoU", "mIoU-hard", "mIoU-easy")}
    return {
        **{key: None if math.isnan(value) else value for key, value in means.items()},
        **{key: value for key, value in figures.items() if key.startswith("IoU-") and not math.isnan(value)},
    }
