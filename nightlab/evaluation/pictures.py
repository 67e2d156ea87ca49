"""Pictures of a run: test images spread over the ranking by mIoU, each with ground truth, prediction and errors."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from PIL import Image
from torch import nn

from nightlab.data import catalog
from nightlab.data.mapper import TestMapper
from nightlab.evaluation.metrics import mean_iou
from nightlab.files import written_aside
from nightlab.visualization import scene_panels

logger = logging.getLogger(__name__)


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
    ids, scores = ranking(Path(evaluation).with_name(document["per_image"]))
    folder = Path(cfg.OUTPUT_DIR, "pictures", name)
    folder.mkdir(parents=True, exist_ok=True)
    records = {record["image_id"]: record for record in catalog.load(name)}
    files, entries = [], []
    for place in spread(len(ids), cfg.TEST.PICTURES):
        image_id = ids[place]
        file = f"{place + 1:0{len(str(len(ids)))}d}_{_plain(image_id)}.png"
        write_image(folder / file, draw_record(model, records[image_id]))
        score = round(100 * float(scores[place]), 2)
        files.append(folder / file)
        entries.append({"file": file, "image_id": image_id, "rank": place + 1, "mIoU": score})
    index = {key: document.get(key) for key in ("dataset", "kind", "checkpoint", "iteration")}
    with written_aside(folder / "index.json") as aside:
        text = json.dumps({**index, "ranked": len(ids), "pictures": entries}, indent=1)
        aside.write_text(text + "\n", encoding="utf-8")
    for stale in set(folder.glob("*.png")) - set(files):
        stale.unlink()
    logger.info("%d pictures in %s", len(files), folder)
    return files


def ranking(counts_file: Path) -> tuple[list[str], np.ndarray]:
    """Image ids and their mIoU in 0...1, best first, from the evaluator's counts.

    Images without a labelled pixel are left out.
    """
    with np.load(counts_file) as counts:
        ids, scores = counts["image_ids"], mean_iou(counts["sem_seg"])
    order = np.argsort(-scores, kind="stable")  # NaN comes last
    order = order[~np.isnan(scores[order])]
    return [str(image_id) for image_id in ids[order]], scores[order]


def spread(total: int, number: int) -> list[int]:
    """At most `number` of the places 0...total-1, evenly spread, the first and the last among them."""
    return sorted({round(place) for place in np.linspace(0, total - 1, min(number, total))}) if total else []


def draw_record(model: nn.Module, record: dict[str, Any]) -> np.ndarray:
    """The panels `[h, w, 3]` (uint8, RGB) of one labelled record, as the model sees it at test."""
    given = TestMapper()(record)
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            prediction = model([given])[0]["sem_seg"].argmax(dim=0).cpu().numpy()
    finally:
        model.train(was_training)
    source = record["source"]
    image = given["image"].numpy().transpose(1, 2, 0)
    return scene_panels(
        np.ascontiguousarray(image), given["sem_seg"].numpy(), prediction, source.classes, source.colors
    )


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a PNG that nobody meets half of."""
    with written_aside(path) as aside:
        Image.fromarray(image).save(aside, format="PNG")


def _plain(image_id: str) -> str:
    """An image id as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", image_id)[:100]
