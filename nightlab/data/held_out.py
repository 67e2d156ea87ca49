"""Which images are trained on and which are held out, and which of those HDM learns gain on."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils import comm

from nightlab.data import catalog
from nightlab.errors import InputError


def split_records(cfg: CfgNode) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Records to train on and records held out from training (`DATASETS.VAL`, or `VAL_FRACTION` of TRAIN by the seed).

    Raises:
        InputError: as `catalog.load` and `check_weights`; or nothing is left to train on.
    """
    train = catalog.load(cfg.DATASETS.TRAIN)  # which also compares the sets
    if check_weights(cfg):  # the loader needs to know which set a record is of
        named = list(enumerate(cfg.DATASETS.TRAIN))
        train = [{**record, "train_set": n} for n, name in named for record in catalog.load(name)]
    if cfg.DATASETS.VAL:
        return train, catalog.load(cfg.DATASETS.VAL)
    chosen = _held_out(cfg, train)
    if len(chosen) == len(train):
        raise InputError(
            f"DATASETS.VAL_FRACTION: {cfg.DATASETS.VAL_FRACTION} leaves nothing of {len(train)} images to train on"
        )
    return [r for i, r in enumerate(train) if i not in chosen], [train[i] for i in sorted(chosen)]


def _held_out(cfg: CfgNode, records: Sequence[dict[str, Any]]) -> set[int]:
    """Which records VAL_FRACTION holds out: whole groups by VAL_GROUPS, in the seed's order, until there are enough."""
    wanted = round(len(records) * cfg.DATASETS.VAL_FRACTION)
    groups: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        groups.setdefault(_group(cfg, record, i), []).append(i)
    if cfg.DATASETS.VAL_GROUPS and wanted and len(groups) < 2:
        raise InputError(
            f"DATASETS.VAL_GROUPS: {cfg.DATASETS.VAL_GROUPS!r} puts all {len(records)} images into one group, "
            f"{next(iter(groups))!r}; none can be held out whole"
        )
    chosen: set[int] = set()
    members = list(groups.values())
    for n in np.random.default_rng((cfg.SEED, 0)).permutation(len(members)):
        if len(chosen) >= wanted:
            break
        if len(groups) == len(records) or 2 * len(members[n]) <= len(records):  # most of the data stays for training
            chosen.update(members[n])
    return chosen


def _group(cfg: CfgNode, record: dict[str, Any], number: int) -> str:
    """What VAL_GROUPS finds in the record's id; without it each record is a group of its own."""
    expression = cfg.DATASETS.VAL_GROUPS
    if not expression:
        return str(number)
    try:
        found = re.search(expression, record["image_id"])
    except re.error as error:
        raise InputError(f"DATASETS.VAL_GROUPS: {expression!r} is no regular expression ({error})") from None
    if not found:
        raise InputError(
            f"DATASETS.VAL_GROUPS: {expression!r} finds nothing in the id {record['image_id']!r} of "
            f"{record['file_name']}; write one that finds each image's drive"
        )
    return found[0]


def check_weights(cfg: CfgNode) -> list[float]:
    """DATASETS.TRAIN_WEIGHTS. Raises InputError where they are not one positive number for each set of TRAIN."""
    weights = [float(weight) for weight in cfg.DATASETS.TRAIN_WEIGHTS]
    if weights and (len(weights) != len(cfg.DATASETS.TRAIN) or min(weights) <= 0):
        names = ", ".join(cfg.DATASETS.TRAIN) or "no data set"
        raise InputError(
            f"DATASETS.TRAIN_WEIGHTS: {cfg.DATASETS.TRAIN_WEIGHTS} for {names}; "
            "give one number above 0 for each set of DATASETS.TRAIN, or none"
        )
    return weights


def share_held_out(
    cfg: CfgNode, held_out: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The held-out images as those that HDM learns gain on, which neither level was fitted to, and those that check it.

    Raises:
        InputError: there are fewer than two.
    """
    if len(held_out) < 2:
        raise InputError(
            f"DATASETS.VAL: HDM learns gain on held-out images, and there are {len(held_out)}; name a data set there, "
            "or set DATASETS.VAL_FRACTION"
        )
    order = np.random.default_rng((cfg.SEED, 1)).permutation(len(held_out))
    number = min(max(round(len(held_out) * cfg.MODEL.HARDNESS.TRAIN_SHARE), 1), len(held_out) - 1)
    chosen = set(order[:number].tolist())
    return [held_out[i] for i in sorted(chosen)], [r for i, r in enumerate(held_out) if i not in chosen]


def share_of_process(records: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    """Those of the records that this process measures, where each is measured by one."""
    return records[comm.get_rank() :: comm.get_world_size()]
