"""What a run will do: its stages in order, the configuration of each, and what would end it hours later, said now."""

import logging
import os
from collections.abc import Sequence
from typing import Any

from detectron2.config import CfgNode

from nightlab.config import STAGE_SOLVER
from nightlab.data import catalog
from nightlab.data.held_out import share_held_out, split_records
from nightlab.data.loader import unpaired_crops
from nightlab.data.stage_data import LATER
from nightlab.engine.calibrate import fits_merge
from nightlab.engine.optimizer import check_optimizer
from nightlab.engine.step import check_batch
from nightlab.engine.validation import classes_named_hard
from nightlab.errors import InputError
from nightlab.light_kinds import TRAINED
from nightlab.modeling.labelling import GAINS
from nightlab.modeling.light_losses import SMALLEST_JUDGED
from nightlab.modeling.nightlab import REGION_SOURCES, STAGE_PARTS

logger = logging.getLogger(__name__)

# What --stage takes, and the stages that it means.
CHOICES = {
    "all": ("light", "adapt", "image", "region", "rdn", "hdm"),
    "light": ("light",),
    "adapt": ("light", "adapt"),
    "image": ("light", "adapt", "image"),
    "region": ("region",),
    "hardness": ("rdn", "hdm"),
}
# Keys that choose among names, and the names.
NAMES: dict[str, Sequence[str]] = {
    "MODEL.HARDNESS.LABELS": ("", "rdn", "hdm"),
    "MODEL.HARDNESS.BOXES": ("region", "component"),
    "MODEL.HARDNESS.BOXES_FROM": ("ground_truth", "prediction"),
    "MODEL.HARDNESS.FEATURES": ("shared", "own"),
    "MODEL.HARDNESS.GAIN": GAINS,
    "MODEL.REGION.CLASSES": ("hard", "all"),
    "MODEL.NIGHTLAB.REGIONS": REGION_SOURCES,
    "MODEL.LIGHT.TRAIN": ("joint", "first"),
}


def stages_of(cfg: CfgNode) -> list[str]:
    """The stages of a configuration, in order.

    Raises:
        InputError: a detector without a region level, or a name that does not exist.
    """
    check_names(cfg)
    labels, light = cfg.MODEL.HARDNESS.LABELS, cfg.MODEL.LIGHT
    if labels == "hdm" and cfg.MODEL.HARDNESS.BOXES != "region":
        raise InputError("MODEL.HARDNESS.BOXES: HDM learns regions as they are pasted; component boxes are RDN's alone")
    if cfg.MODEL.HARDNESS.DOUBT and cfg.MODEL.HARDNESS.FEATURES != "shared":
        raise InputError(
            "MODEL.HARDNESS.DOUBT: a detector with a backbone of its own does not see what the image level doubts; set "
            "MODEL.HARDNESS.FEATURES shared, or DOUBT False"
        )
    first = light.NAME in TRAINED and light.TRAIN == "first" and "image" in light.LEVELS
    image = ["light", "image"] if first else ["image"]
    if cfg.MODEL.ADAPT.ENABLED:
        image.insert(-1, "adapt")
    if not cfg.MODEL.REGION.ENABLED:
        if labels:
            raise InputError("MODEL.HARDNESS.LABELS: a detector needs the region level; set MODEL.REGION.ENABLED True")
        return image
    return [*image, "region", *{"": [], "rdn": ["rdn"], "hdm": ["rdn", "hdm"]}[labels]]


def check_names(cfg: CfgNode) -> None:
    """Raises InputError where a key that chooses among names has another."""
    for key, names in NAMES.items():
        value: Any = cfg
        for part in key.split("."):
            value = value[part]
        if value not in names:
            raise InputError(f"{key}: {value!r} is not one of {', '.join(map(repr, names))}")
    for level in cfg.MODEL.LIGHT.LEVELS:
        if level not in ("image", "region"):
            raise InputError(f"MODEL.LIGHT.LEVELS: {level!r} is not one of 'image', 'region'")


def given_checkpoint(cfg: CfgNode, stage: str) -> str:
    """The checkpoint of elsewhere that stands for a stage and those before it; "" where the run trains it."""
    if stage == "hdm":
        return ""
    return str(cfg.STAGES.DETECTOR or ("" if stage in LATER else cfg.STAGES.IMAGE_LEVEL))


def stage_folder(cfg: CfgNode, stage: str) -> str:
    """Where a stage keeps its checkpoints; a run of the image level alone keeps them in its own folder."""
    return cfg.OUTPUT_DIR if stages_of(cfg) == ["image"] else os.path.join(cfg.OUTPUT_DIR, "stages", stage)


def stage_config(cfg: CfgNode, stage: str) -> CfgNode:
    """The configuration of one stage: its folder, what it trains, and its own schedule where STAGES has one."""
    own = cfg.clone()
    own.defrost()
    own.OUTPUT_DIR = stage_folder(cfg, stage)
    own.MODEL.NIGHTLAB.STAGE = stage
    if stage != stages_of(cfg)[0]:
        own.MODEL.WEIGHTS = own.MODEL.TIMM.WEIGHTS = ""  # what the first stage started from
    if stage != "image":
        schedule = cfg.STAGES[stage.upper()]
        for key in STAGE_SOLVER:
            if schedule[key]:
                own.SOLVER[key] = schedule[key]
        own.TEST.EVAL_PERIOD = schedule.EVAL_PERIOD
    own.freeze()
    return own


def plan(cfg: CfgNode, choice: str = "all") -> list[str]:
    """The stages that `--stage` means, once it is known that they can be run to the run's end.

    Raises:
        InputError: the configuration has none of them, or not the data that one of them, or the evaluation after them,
            needs; HARD_CLASSES would be needed, or a detector, or names a stranger; a batch cannot be shared out; an
            optimiser is unknown; or as `fits_merge`.
    """
    stages = stages_of(cfg)
    chosen = [stage for stage in stages if stage in CHOICES[choice]]
    if not chosen or (choice in STAGE_PARTS and choice not in stages):
        raise InputError(f"--stage {choice}: this configuration has only the stages {', '.join(stages)}")
    for stage in chosen:
        solver = stage_config(cfg, stage).SOLVER
        check_batch(solver, stage)
        check_optimizer(solver, stage)
    if cfg.STAGES.DETECTOR:
        if "hdm" not in stages:
            raise InputError(
                "STAGES.DETECTOR: is what HDM goes on from, and this configuration trains none; set "
                "MODEL.HARDNESS.LABELS hdm, or leave STAGES.DETECTOR empty"
            )
        if cfg.STAGES.IMAGE_LEVEL:
            raise InputError("STAGES.DETECTOR: has an image level of its own; leave STAGES.IMAGE_LEVEL empty")
    if "region" in stages and cfg.MODEL.NIGHTLAB.REGIONS == "detector" and not cfg.MODEL.HARDNESS.LABELS:
        raise InputError(
            "MODEL.NIGHTLAB.REGIONS: there is no detector to take regions from; set MODEL.HARDNESS.LABELS, or one of "
            f"{', '.join(name for name in REGION_SOURCES if name != 'detector')}"
        )
    light = cfg.MODEL.LIGHT
    trains = [stage for stage in chosen if not given_checkpoint(cfg, stage)]
    learning = [level for level in light.LEVELS if level in trains] if light.NAME in TRAINED else []
    if learning:
        unpaired_crops(cfg)  # which looks for the day images
    crops = {
        "image": ("INPUT.CROP_SIZE", cfg.INPUT.CROP_SIZE),
        "region": ("MODEL.REGION.CROP_SIZE", cfg.MODEL.REGION.CROP_SIZE),
    }
    for key, size in (crops[level] for level in learning):
        if min(size) < SMALLEST_JUDGED:
            raise InputError(
                f"{key}: {list(size)}, and the discriminator of the light adaptation needs {SMALLEST_JUDGED} pixels "
                "each way; take larger crops"
            )
    _check_held_out(cfg, chosen)
    fits_merge(cfg)
    return chosen


def _check_held_out(cfg: CfgNode, chosen: Sequence[str]) -> None:
    """Whether HARD_CLASSES are classes, and the held-out images serve what the stages need them for, and are none of
    the test's."""
    train, held_out = split_records(cfg)
    classes_named_hard(cfg, train[0]["source"].classes)
    if "region" in chosen and not held_out and not cfg.MODEL.NIGHTLAB.HARD_CLASSES:
        raise InputError(
            "DATASETS.VAL: hard classes are found on held-out images, and there are none; name a data set there, set "
            "DATASETS.VAL_FRACTION, or name the classes in MODEL.NIGHTLAB.HARD_CLASSES"
        )
    if "hdm" in chosen:
        share_held_out(cfg, held_out)
    tested = {r["file_name"] for name in cfg.DATASETS.TEST for r in catalog.load((name,))}
    shared = [record["file_name"] for record in held_out if record["file_name"] in tested]
    if not shared:
        return
    said = (
        f"DATASETS.VAL: {len(shared)} of {len(held_out)} held-out images, as {shared[0]}, are test images too; what "
        "they choose (the best checkpoint, hard classes, what HDM learns) flatters the figures. Leave VAL empty: "
        "DATASETS.VAL_FRACTION of TRAIN is held out then"
    )
    if cfg.MODEL.REGION.ENABLED:
        raise InputError(said)
    logger.warning(said)
