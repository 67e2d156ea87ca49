"""Pictures of a run: test images with ground truth, prediction and errors, spread over the ranking by mIoU.

Where the model has two levels: the images whose mIoU merging raised and lowered most, with regions and both maps.
"""

import json
import logging
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from PIL import Image
from torch import nn

from nightlab.data import catalog
from nightlab.data.mapper import TestMapper
from nightlab.evaluation.metrics import mean_iou
from nightlab.files import write_json_aside, written_aside
from nightlab.level_panels import SMALL_WIDTH, Regions, level_panels, region_names, small_panels
from nightlab.modeling.scored import IMAGE_LEVEL as SUFFIX
from nightlab.modeling.scored import decision
from nightlab.visualization import TILE_WIDTHS, scene_panels

IMAGE_LEVEL = "sem_seg_image_level"

logger = logging.getLogger(__name__)


class Ranking(NamedTuple):
    """Labelled images in an order of quality: ids, mIoU in 0...1, and the image level's where it is told apart."""

    ids: list[str]
    scores: np.ndarray
    before: np.ndarray | None = None

    @property
    def gains(self) -> np.ndarray | None:
        """What merging adds to each image's mIoU, highest first."""
        return None if self.before is None else self.scores - self.before


def write_pictures(cfg: CfgNode, model: nn.Module, name: str, evaluation: str | Path) -> list[Path]:
    """Write `TEST.PICTURES` panels of a data set as `pictures/<data set>/<rank>_<image id>.png` in the run's folder.

    `index.json` beside them tells each picture's rank and mIoU. Pictures of an earlier evaluation are removed.
    For one process.

    Args:
        model: takes detectron2's `list[dict]`; it should hold the weights that were evaluated.
        name: the data set.
        evaluation: the evaluator's JSON file, which names the counts of each image, and so their ranking.
    """
    document = json.loads(Path(evaluation).read_text())
    counts_file = Path(evaluation).with_name(document["per_image"])
    ranked = ranking_by_gain(counts_file) or ranking(counts_file)
    folder = Path(cfg.OUTPUT_DIR, "pictures", name)
    folder.mkdir(parents=True, exist_ok=True)
    records = {record["image_id"]: record for record in catalog.load(name)}
    files, entries = [], []
    for place in places_to_show(ranked, cfg.TEST.PICTURES):
        image_id = ranked.ids[place]
        file = f"{place + 1:0{len(str(len(ranked.ids)))}d}_{picture_name(image_id)}"
        write_image(folder / file, draw_record(model, records[image_id]))
        entry = {"file": file, "image_id": image_id, "rank": place + 1, "mIoU": _percent(ranked.scores[place])}
        if ranked.before is not None:
            entry["mIoU_image_level"] = _percent(ranked.before[place])
        files.append(folder / file)
        entries.append(entry)
    index = {key: document.get(key) for key in ("dataset", "kind", "checkpoint", "iteration")}
    index |= {"ranked": len(ranked.ids), "ranked_by": "mIoU" if ranked.before is None else "gain", "pictures": entries}
    write_json_aside(folder / "index.json", index)
    for stale in set(folder.glob("*.png")) - set(files):
        stale.unlink()
    logger.info("%d pictures in %s", len(files), folder)
    return files


def ranking(counts_file: Path) -> Ranking:
    """Images by their mIoU, best first, from the evaluator's counts; those without a labelled pixel are left out."""
    with np.load(counts_file) as counts:
        ids, scores = counts["image_ids"], mean_iou(counts["sem_seg"])
    order = np.argsort(-scores, kind="stable")  # NaN comes last
    order = order[~np.isnan(scores[order])]
    return Ranking([str(image_id) for image_id in ids[order]], scores[order])


def ranking_by_gain(counts_file: Path) -> Ranking | None:
    """Images by what merging adds to their mIoU, the largest gain first; None for one level, or where nothing changed.

    Images without a labelled pixel are left out.
    """
    with np.load(counts_file) as counts:
        if IMAGE_LEVEL not in counts:
            return None
        ids, after, before = counts["image_ids"], mean_iou(counts["sem_seg"]), mean_iou(counts[IMAGE_LEVEL])
    known = np.flatnonzero(~np.isnan(after))
    order = known[np.argsort(before[known] - after[known], kind="stable")]
    if (after[order] == before[order]).all():
        return None
    return Ranking([str(image_id) for image_id in ids[order]], after[order], before[order])


def places_to_show(ranked: Ranking, number: int) -> list[int]:
    """Places of the pictures: the largest gains and losses where the levels are told apart, else a spread."""
    return spread(len(ranked.ids), number) if ranked.gains is None else extremes(ranked.gains, number)


def spread(total: int, number: int) -> list[int]:
    """At most `number` of the places 0...total-1, evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(number, total))}) if total else []


def extremes(gains: np.ndarray, number: int) -> list[int]:
    """At most `number` places of `gains` (highest first): half of them the largest, half the lowest, never zeros.

    Where there are too few gains, losses take their places, and the other way round.
    """
    rising, falling = int((gains > 0).sum()), int((gains < 0).sum())
    largest = min(rising, max(number - number // 2, number - falling))
    lowest = min(falling, number - largest)
    return [*range(largest), *range(len(gains) - lowest, len(gains))]


def draw_record(model: nn.Module, record: dict[str, Any], *, small: bool = False) -> np.ndarray:
    """The panels `[h, w, 3]` (uint8, RGB) of one labelled record, as the model sees it at test; `small`: reduced, and
    of both levels their maps alone; where there is no region, as without a region level."""
    given = TestMapper()(record)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output = model([given])[0]
    finally:
        model.train(was_training)
    source = record["source"]
    image = np.ascontiguousarray(given["image"].numpy().transpose(1, 2, 0))
    label, (prediction, before) = given["sem_seg"].numpy(), (_class_map(output, suffix) for suffix in ("", SUFFIX))
    assert prediction is not None
    found = output.get("regions")
    if before is None or found is None or (small and not len(found)):
        largest = SMALL_WIDTH if small else TILE_WIDTHS[1]
        return scene_panels(image, label, prediction, source.classes, source.colors, largest=largest)
    regions = named_regions(found, source.classes)
    draw = small_panels if small else level_panels
    return draw(image, label, before, prediction, regions, source.classes, source.colors)


def named_regions(found: Any, classes: Any) -> Regions:
    """The model's `Instances` as boxes, named by their scores and, where it tells them, their classes."""
    kinds = found.pred_classes.tolist() if found.has("pred_classes") else None
    return Regions(found.pred_boxes.tensor.cpu().numpy(), region_names(found.scores.tolist(), kinds, classes))


def picture_name(image_id: str) -> str:
    """A file name for the picture of an image."""
    return re.sub(r"[^\w.-]+", "_", image_id)[:100] + ".png"


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a PNG that nobody meets half of."""
    with written_aside(path) as aside:
        Image.fromarray(image).save(aside, format="PNG")


def _class_map(output: dict[str, Any], suffix: str) -> np.ndarray | None:
    found = decision(output, suffix)
    return None if found is None else found.labels.cpu().numpy()


def _percent(share: float) -> float:
    return round(100 * float(share), 2)
