"""Does the detector's score know gain? Scores and true gains of its regions, on images that were and were not fitted.

Gain is that of the mIoU inside a region, whatever MODEL.HARDNESS.GAIN the detector learned from. On images
that both levels were fitted to it flatters the region level, so that both kinds stand beside each other.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor

from nightlab.data.bad_files import readable
from nightlab.data.held_out import share_held_out, split_records
from nightlab.data.mapper import TestMapper
from nightlab.evaluation.metrics import area_under_roc
from nightlab.evaluation.pictures import spread
from nightlab.files import write_json_aside
from nightlab.modeling.calibration import fit_platt, log_odds
from nightlab.modeling.image_pass import ImagePass
from nightlab.modeling.nightlab import Found, NightLab
from nightlab.modeling.sources import Candidates

FILE = "hardness.json"


def write_hardness(cfg: CfgNode, model: NightLab) -> dict[str, Any]:
    """Check at most TEST.HARDNESS_IMAGES images of each kind and write `hardness.json` into the run's folder.

    The kinds: `fitted`, training images of both levels; `learned`, held-out images that HDM learned gain on;
    `unfitted`, held-out images that nothing was fitted to. Those also have `calibrated`, the probability of gain that
    the score stands for (see `cross_calibrated`). Empty for a model without a detector. For one process.
    """
    if model.detector is None or model.region_level is None or not cfg.TEST.HARDNESS_IMAGES:
        return {}
    fitted, held_out = split_records(cfg)
    kinds = {"fitted": fitted, "unfitted": held_out}
    if cfg.MODEL.HARDNESS.LABELS == "hdm":
        kinds["learned"], kinds["unfitted"] = share_held_out(cfg, held_out)
    checks = {}
    for kind, records in kinds.items():
        chosen = [records[i] for i in spread(len(records), cfg.TEST.HARDNESS_IMAGES)]
        if chosen:
            checks[kind] = check_hardness(model, chosen, cfg.DATALOADER.MAX_BAD_FILES)
    if "unfitted" in checks:
        probabilities = cross_calibrated(checks["unfitted"])
        checks["unfitted"]["calibrated"] = [round(p, 5) for p in probabilities]
    write_json_aside(Path(cfg.OUTPUT_DIR, FILE), checks)
    return checks


def scored_gains(
    model: NightLab, image: ImagePass, label: Tensor, found: Found | Candidates
) -> tuple[list[float], list[float]]:
    """Scores and true gains (-1...1) of the regions of one frame; those where all labels are ignored are left out."""
    gain = model.gains(image, label.to(model.device), found.boxes)
    known = torch.isfinite(gain)
    return found.scores[known].tolist(), gain[known].tolist()


@torch.no_grad()
def check_hardness(model: NightLab, records: Sequence[dict[str, Any]], max_bad_files: int = 0) -> dict[str, Any]:
    """Uncalibrated score and gain of the detector's best regions (at most MAX_REGIONS an image, whatever SCORE_THRESH)
    and the number of the image that each is of, with AUC; of all regions, also where nothing is labelled, the longer
    sides in pixels and, where the detector tells classes, how many there are of each. At most `max_bad_files` images
    that cannot be read are left out."""
    scores: list[float] = []
    gains: list[float] = []
    number: list[int] = []
    image_of: list[int] = []
    sides: list[float] = []
    classes: Counter[str] = Counter()
    for place, given in enumerate(readable(records, TestMapper(), max_bad_files)):
        image = model.image_pass(given["image"].to(model.device).float())
        found = model.choose(model.detected(image, raw=True), score_thresh=0.0)
        known = scored_gains(model, image, given["sem_seg"], found)
        scores += known[0]
        gains += known[1]
        image_of += [place] * len(known[0])
        number.append(len(found.boxes))
        sides += (found.boxes[:, 2:] - found.boxes[:, :2]).amax(dim=1).tolist()
        if found.classes is not None:
            classes.update(records[0]["source"].classes[k] for k in found.classes.tolist())
    positive = np.array(gains) > 0
    return {
        "images": len(number),
        "regions_per_image": number,
        "longer_sides": [round(side, 1) for side in sides],
        "classes": dict(classes),
        "auc": area_under_roc(np.array(scores), positive),
        "share_with_gain": float(positive.mean()) if len(positive) else None,
        "scores": [round(score, 5) for score in scores],
        "gains": [round(gain, 5) for gain in gains],
        "image_of": image_of,
    }


def cross_calibrated(check: dict[str, Any]) -> list[float]:
    """Probability of gain of each region of a check: of each image by Platt's line, fitted on the other images.

    What the checkpoint carries is one line, fitted on all; shown on the same regions it would flatter itself. None at
    all for a single image.
    """
    scores, positive = torch.tensor(check["scores"]), torch.tensor(check["gains"]) > 0
    image_of = torch.tensor(check["image_of"])
    images = image_of.unique()
    if len(images) < 2:
        return []
    calibrated = log_odds(scores)
    for image in images:
        mine = image_of == image
        slope, offset = fit_platt(scores[~mine], positive[~mine])
        calibrated[mine] = slope * calibrated[mine] + offset
    return calibrated.sigmoid().tolist()
