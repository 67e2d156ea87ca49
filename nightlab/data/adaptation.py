"""What the stage "adapt" learns from: labelled records of the source, and crops of the target without labels."""

from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from nightlab.data import catalog
from nightlab.data.unpaired import UnpairedCrops
from nightlab.errors import InputError


def adaptation_sets(
    cfg: CfgNode, train_records: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, UnpairedCrops]]:
    """The records of DATASETS.DAY, and `night` crops of DATASETS.NIGHT; for one of them the training records may serve.

    Raises:
        InputError: neither names anything, DAY has no labels or other classes, or as `catalog.load`.
    """
    data = cfg.DATASETS
    if not data.DAY and not data.NIGHT:
        raise InputError(
            "DATASETS.DAY, DATASETS.NIGHT: the stage adapt learns from labelled images and from others without labels; "
            "name the labelled sets in DAY, the others in NIGHT, or one of the two beside DATASETS.TRAIN"
        )
    source = list(train_records)
    if data.DAY:
        catalog.load([*data.TRAIN, *data.DAY])  # which compares their classes
        source = catalog.load(data.DAY)
    target = catalog.load(data.NIGHT, require_labels=False) if data.NIGHT else train_records
    return source, {"night": UnpairedCrops(cfg, target, set_number=1)}
