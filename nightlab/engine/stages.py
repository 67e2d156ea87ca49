"""The stages of a run in order: light and adaptation (where they are asked for), image level, hard classes, region
level, RDN, HDM.

Every stage is a training run of its own in `stages/<name>/` of the run's folder, from the best checkpoint of the one
before it. Its checkpoints hold the whole model, so that the last one is the run's result.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.modeling import build_model
from detectron2.utils import comm

from nightlab.config import STAGE_SOLVER
from nightlab.data.held_out import split_records
from nightlab.engine.checkpoint import NightLabCheckpointer, is_usable, write_whole
from nightlab.engine.optimizer import check_optimizer
from nightlab.engine.step import check_batch
from nightlab.engine.trainer import NightLabTrainer, unwrap
from nightlab.errors import InputError, enumerate_some
from nightlab.light_kinds import TRAINED
from nightlab.modeling import calibration
from nightlab.modeling.nightlab import STAGE_PARTS, NightLab
from nightlab.modeling.weights import read_state_dict

logger = logging.getLogger(__name__)

BEST, LAST = "model_best.pth", "model_final.pth"
# What --stage takes, and the stages that it means.
CHOICES = {
    "all": ("light", "adapt", "image", "region", "rdn", "hdm"),
    "light": ("light",),
    "adapt": ("light", "adapt"),
    "image": ("light", "adapt", "image"),
    "region": ("region",),
    "hardness": ("rdn", "hdm"),
}


def stages_of(cfg: CfgNode) -> list[str]:
    """The stages of a configuration, in order.

    Raises:
        InputError: a detector without a region level, or labels that do not exist.
    """
    labels = cfg.MODEL.HARDNESS.LABELS
    detector = {"": [], "rdn": ["rdn"], "hdm": ["rdn", "hdm"]}
    if labels not in detector:
        raise InputError(f'MODEL.HARDNESS.LABELS: {labels!r} is not one of "", "rdn" and "hdm"')
    if labels == "hdm" and cfg.MODEL.HARDNESS.BOXES != "region":
        raise InputError("MODEL.HARDNESS.BOXES: HDM learns regions as they are pasted; component boxes are RDN's alone")
    light = cfg.MODEL.LIGHT
    if light.TRAIN not in ("joint", "first"):
        raise InputError(f'MODEL.LIGHT.TRAIN: {light.TRAIN!r} is not "joint" or "first"')
    image = ["light", "image"] if light.NAME in TRAINED and light.TRAIN == "first" else ["image"]
    if len(image) > 1 and "image" not in light.LEVELS:
        raise InputError('MODEL.LIGHT.TRAIN "first" trains the image level\'s adaptation; add image to LEVELS')
    if cfg.MODEL.ADAPT.ENABLED:
        image.insert(-1, "adapt")
    if not cfg.MODEL.REGION.ENABLED:
        if labels:
            raise InputError("MODEL.HARDNESS.LABELS: a detector needs the region level; set MODEL.REGION.ENABLED True")
        return image
    return [*image, "region", *detector[labels]]


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


def train_stages(cfg: CfgNode, choice: str = "all", *, resume: bool = False, watching: Sequence[HookBase] = ()) -> Any:
    """Train the chosen stages of a configuration, each from the one before it, and return the model.

    With `resume`, finished stages are skipped and an interrupted one goes on. Where no class is hard, the run ends as
    image level. The hooks `watching` see the steps of every stage (see `NightLabTrainer`).

    Raises:
        InputError: the configuration has none of the chosen stages, or a stage that they start from is not finished.
    """
    stages = stages_of(cfg)
    chosen = [stage for stage in stages if stage in CHOICES[choice]]
    if not chosen or (choice in STAGE_PARTS and choice not in stages):
        raise InputError(f"--stage {choice}: this configuration has only the stages {', '.join(stages)}")
    for stage in chosen:
        solver = stage_config(cfg, stage).SOLVER  # wrong in a late stage, it shall be known before the first
        check_batch(solver, stage)
        check_optimizer(solver, stage)
    model: Any = None
    for stage in chosen:
        stage_cfg = stage_config(cfg, stage)
        given = stage in CHOICES["image"] and cfg.STAGES.IMAGE_LEVEL
        before = stages[stages.index(stage) - 1] if stage != stages[0] and not given else None
        start = _result(cfg, before) if before else None
        hard = hard_classes(cfg, start) if start and stage not in CHOICES["image"] else None
        if before and hard is not None and not any(hard):
            logger.warning("no class is hard on the held-out images: the run ends as image level")
            _finish(cfg, before)
            return _load(build_model(cfg), cfg, _result(cfg, before))
        if given or (resume and is_finished(stage_cfg)):
            logger.info("stage %s: finished before, skipped", stage)
            continue
        logger.info("stage %s (%d of %d): %s", stage, stages.index(stage) + 1, len(stages), stage_cfg.OUTPUT_DIR)
        os.makedirs(stage_cfg.OUTPUT_DIR, exist_ok=True)
        model = train_stage(stage_cfg, start=start, hard=hard, resume=resume, watching=watching)
    if len(stages) > 1:
        _finish(cfg, chosen[-1])
    return model if model is not None else _load(build_model(cfg), cfg, _result(cfg, chosen[-1]))


def train_stage(
    cfg: CfgNode,
    *,
    start: str | None,
    hard: Sequence[bool] | None,
    resume: bool,
    watching: Sequence[HookBase] = (),
) -> Any:
    """Train one stage of `stage_config` from the checkpoint `start`; returns the model."""
    trainer = NightLabTrainer(cfg, hard=hard, watching=watching)
    model: NightLab = unwrap(trainer.model)
    if start is not None and not (resume and trainer.checkpointer.has_checkpoint()):
        _load(model, cfg, start)
        if hard is not None:
            model.hard_class_mask.copy_(torch.as_tensor(hard))
        if cfg.MODEL.NIGHTLAB.STAGE == "region":
            assert model.region_level is not None
            model.region_level.start_from(model.image_level, model.hard_class_mask)
    trainer.resume_or_load(resume)
    calibration.reset(model, STAGE_PARTS[cfg.MODEL.NIGHTLAB.STAGE])
    if cfg.MODEL.NIGHTLAB.STAGE == "hdm":
        trainer.measure_gains()
    trainer.train()
    return trainer.model


def hard_classes(cfg: CfgNode, checkpoint: str) -> list[bool]:
    """For each class whether it is hard: as HARD_CLASSES names them; where it names none, as a checkpoint says.

    Classes without a pixel in the training set are never hard: nothing could be learned about them.

    Raises:
        InputError: HARD_CLASSES names a class that the data set does not have, or the checkpoint knows nothing of them.
    """
    records, _ = split_records(cfg)
    classes = list(records[0]["source"].classes)
    named = list(cfg.MODEL.NIGHTLAB.HARD_CLASSES)
    strangers = [name for name in named if name not in classes]
    if strangers:
        raise InputError(
            f"MODEL.NIGHTLAB.HARD_CLASSES: {enumerate_some(strangers)} not among the classes {', '.join(classes)}"
        )
    hard = [name in named for name in classes]
    if not named:
        state = read_state_dict(checkpoint)
        mask = state.get("model", state).get("hard_class_mask")
        if mask is None:
            raise InputError(f"{checkpoint}: does not say which classes are hard; name them in HARD_CLASSES")
        hard = mask.tolist()
    missing = {i for i, is_hard in enumerate(hard) if is_hard}
    for record in records:
        if not missing:
            break
        missing -= set(np.unique(record["source"].read_label(record)).tolist())
    names = [name for i, name in enumerate(classes) if hard[i] and i not in missing]
    logger.info("hard classes: %s", ", ".join(names) or "none")
    if missing:
        logger.warning("never in the training labels, so not hard: %s", ", ".join(classes[i] for i in sorted(missing)))
    return [is_hard and i not in missing for i, is_hard in enumerate(hard)]


def is_finished(cfg: CfgNode) -> bool:
    """Whether a stage's last checkpoint has as many iterations as the configuration asks for."""
    path = Path(cfg.OUTPUT_DIR, LAST)
    return is_usable(path) and read_state_dict(path).get("iteration", -1) + 1 >= cfg.SOLVER.MAX_ITER


def _result(cfg: CfgNode, stage: str) -> str:
    """The checkpoint that the next stage starts from: a stage's best, or its last without held-out images."""
    if stage == "image" and cfg.STAGES.IMAGE_LEVEL:
        return str(cfg.STAGES.IMAGE_LEVEL)
    folder = stage_folder(cfg, stage)
    for name in (BEST, LAST):
        path = os.path.join(folder, name)
        if is_usable(Path(path)):
            return path
    raise InputError(f"{folder}: stage {stage} has no finished checkpoint; train it first (--stage all trains all)")


def _finish(cfg: CfgNode, stage: str) -> None:
    """Put the model of a stage's best and last checkpoint into the run's folder, without the trainer's state."""
    comm.synchronize()
    if comm.is_main_process():
        folder = Path(stage_folder(cfg, stage))
        files = [folder / name for name in (BEST, LAST) if is_usable(folder / name)]
        if not files:
            files = [Path(_result(cfg, stage))]
        for file in files:
            state = read_state_dict(file)
            kept = {key: value for key, value in state.items() if key in ("model", "iteration")}
            write_whole(kept, Path(cfg.OUTPUT_DIR, file.name if file.name in (BEST, LAST) else LAST))
    comm.synchronize()


def _load(model: NightLab, cfg: CfgNode, path: str) -> NightLab:
    """The model with the weights of an earlier stage, or of an image level trained alone."""
    checkpointer = NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE, accept_image_level=True)
    checkpointer.load(path, checkpointables=[])
    return model
