"""The stages of a run in order: light and adaptation (where they are asked for), image level, hard classes, region
level, RDN, HDM.

Every stage is a training run of its own in `stages/<name>/` of the run's folder, from the best checkpoint of the one
before it. Its checkpoints hold the whole model, so that the last one is the run's result.
"""

import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import HookBase
from detectron2.modeling import build_model
from detectron2.utils import comm

from nightlab.data.bad_files import readable
from nightlab.data.held_out import split_records
from nightlab.data.stage_data import LATER
from nightlab.engine.calibrate import fit_merge
from nightlab.engine.checkpoint import NightLabCheckpointer, is_usable, read_checkpoint, write_whole
from nightlab.engine.fitted import FITTED, FittedTo
from nightlab.engine.gains import GAINS
from nightlab.engine.plan import given_checkpoint, plan, stage_config, stage_folder, stages_of
from nightlab.engine.trainer import NightLabTrainer, unwrap
from nightlab.engine.validation import classes_found_hard, classes_named_hard, held_out_figures
from nightlab.errors import InputError
from nightlab.modeling import calibration
from nightlab.modeling.nightlab import STAGE_PARTS, NightLab
from nightlab.modeling.weights import read_state_dict

logger = logging.getLogger(__name__)

BEST, LAST = "model_best.pth", "model_final.pth"


def train_stages(cfg: CfgNode, choice: str = "all", *, resume: bool = False, watching: Sequence[HookBase] = ()) -> Any:
    """Train the chosen stages of a configuration, each from the one before it, and return the model.

    With `resume`, finished stages are skipped and an interrupted one goes on. Where no class is hard, the run ends as
    image level. The hooks `watching` see the steps of every stage (see `NightLabTrainer`).

    Raises:
        InputError: as `plan`, or a stage that they start from is not finished.
    """
    stages, chosen = stages_of(cfg), plan(cfg, choice)
    model: Any = None
    for stage in chosen:
        stage_cfg = stage_config(cfg, stage)
        given = given_checkpoint(cfg, stage)
        before = stages[stages.index(stage) - 1] if stage != stages[0] and not given else None
        start = _result(cfg, before) if before else None
        hard = hard_classes(cfg, start) if start and stage in LATER else None
        if before and hard is not None and not any(hard):
            logger.warning("no class is hard on the held-out images: the run ends as image level")
            _finish(cfg, before)
            return _load(build_model(cfg), cfg, _result(cfg, before))
        if given or (resume and is_finished(stage_cfg)):
            logger.info("stage %s: finished before, skipped", stage)
            continue
        logger.info("stage %s (%d of %d): %s", stage, stages.index(stage) + 1, len(stages), stage_cfg.OUTPUT_DIR)
        os.makedirs(stage_cfg.OUTPUT_DIR, exist_ok=True)
        after = [stage_folder(cfg, later) for later in stages[stages.index(stage) + 1 :]]
        model = train_stage(stage_cfg, start=start, hard=hard, resume=resume, watching=watching, after=after)
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
    after: Sequence[str] = (),
) -> Any:
    """Train one stage of `stage_config` from the checkpoint `start`; returns the model.

    What is in its folder from before, unless it is resumed, and in those of the stages `after` it is put aside.

    Raises:
        InputError: it is resumed, or its region level was trained, with other hard classes.
    """
    trainer = NightLabTrainer(cfg, hard=hard, watching=watching)
    model: NightLab = unwrap(trainer.model)
    resume = resume and trainer.checkpointer.has_checkpoint()
    if start is not None and not resume:
        # The detector of a checkpoint from before may have been built otherwise: nothing has trained it.
        anew = "detector" if cfg.MODEL.NIGHTLAB.STAGE == "rdn" else ""
        _load(model, cfg, start, fitted=trainer.fitted, anew=anew)
        if hard is not None:
            model.hard_class_mask.copy_(torch.as_tensor(hard))
        if cfg.MODEL.NIGHTLAB.STAGE == "region":
            assert model.region_level is not None
            model.region_level.start_from(model.image_level, model.hard_class_mask)
    trainer.resume_or_load(resume)
    if hard is not None:
        check_hard(cfg, model, hard)
    _put_aside(after if resume else [cfg.OUTPUT_DIR, *after])
    calibration.reset(model, *calibration.BUFFERS_OF[STAGE_PARTS[cfg.MODEL.NIGHTLAB.STAGE]])
    if cfg.MODEL.NIGHTLAB.STAGE == "hdm":
        if not resume:
            fit_merge(cfg, model)
            assert model.detector is not None
            model.detector.begin_with_doubt()
        trainer.measure_gains()
    trainer.train()
    comm.synchronize()  # the first process writes the last checkpoint, which the others read next
    return trainer.model


def check_hard(cfg: CfgNode, model: NightLab, hard: Sequence[bool]) -> None:
    """Raises InputError where a stage that goes on, or the region level it builds on, has other hard classes, or the
    latter answers for them alone where all classes are asked for."""
    assert model.region_level is not None
    if model.region_level.all_classes and not model.region_level.used.all():
        raise InputError(
            f"{cfg.OUTPUT_DIR}: the region level was trained with MODEL.REGION.CLASSES hard, and now it is all; set it "
            "back, or train from --stage region without --resume"
        )
    known = {"this stage began with": model.hard_class_mask}
    if not model.region_level.all_classes:
        known["the region level was trained for"] = model.region_level.used
    for what, mask in known.items():
        if mask.tolist() != list(hard):
            names = split_records(cfg)[0][0]["source"].classes
            told, now = (
                ", ".join(n for n, is_hard in zip(names, m, strict=True) if is_hard) for m in (mask.tolist(), hard)
            )
            raise InputError(
                f"{cfg.OUTPUT_DIR}: {what} the hard classes {told}, and now they are {now}; set "
                "MODEL.NIGHTLAB.HARD_CLASSES to the former, or train from --stage region without --resume"
            )


def _put_aside(folders: Sequence[str]) -> None:
    """Move the checkpoints of an earlier run in these folders to `earlier/` in each, where nothing is resumed from."""
    comm.synchronize()  # all have read what they start from, which may be one of them
    if comm.is_main_process():
        for folder in map(Path, folders):
            # First what a run resumes from: one that is killed in between must not go on with what is left of this one.
            _move_aside(folder, [folder / "last_checkpoint", *folder.glob("model_*.pth"), folder / GAINS])
    comm.synchronize()


def _move_aside(folder: Path, files: Sequence[Path]) -> None:
    """Move those files that there are to `earlier/` in their folder, in place of what was there; where a run was killed
    at it, beside what it had moved."""
    files = [file for file in files if file.is_file()]
    if files:
        earlier = folder / "earlier"
        logger.warning("%s: the checkpoints of an earlier run are moved to %s", folder, earlier)
        if folder / "last_checkpoint" in files:
            shutil.rmtree(earlier, ignore_errors=True)
        earlier.mkdir(exist_ok=True)
        for file in files:
            file.rename(earlier / file.name)


def hard_classes(cfg: CfgNode, checkpoint: str) -> list[bool]:
    """For each class whether it is hard: as HARD_CLASSES names them, or as the image level's checkpoint says; where
    that is an image level of elsewhere, which says nothing, by its IoU on the held-out images.

    Classes without a pixel in the training set are never hard: nothing could be learned about them. Label maps that
    have turned bad are left out, up to DATALOADER.MAX_BAD_FILES.

    Raises:
        InputError: HARD_CLASSES names a class that the data set does not have, or the checkpoint knows nothing of them.
    """
    records, _ = split_records(cfg)
    classes = list(records[0]["source"].classes)
    named = cfg.MODEL.NIGHTLAB.HARD_CLASSES
    hard = classes_named_hard(cfg, classes).tolist() if named else _known_hard(cfg, checkpoint)
    missing = {i for i, is_hard in enumerate(hard) if is_hard}
    wanted = records if missing else ()
    for label in readable(wanted, lambda record: record["source"].read_label(record), cfg.DATALOADER.MAX_BAD_FILES):
        missing -= set(np.unique(label).tolist())
        if not missing:
            break
    names = [name for i, name in enumerate(classes) if hard[i] and i not in missing]
    logger.info("hard classes: %s", ", ".join(names) or "none")
    if missing:
        logger.warning("never in the training labels, so not hard: %s", ", ".join(classes[i] for i in sorted(missing)))
    return [is_hard and i not in missing for i, is_hard in enumerate(hard)]


def _known_hard(cfg: CfgNode, checkpoint: str) -> list[bool]:
    """The mask of a checkpoint or, where it names no class and is a given image level, of its IoU."""
    mask = read_checkpoint(checkpoint)["model"].get("hard_class_mask")
    number = cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
    if mask is not None and mask.shape != (number,):
        raise InputError(f"{checkpoint}: tells which of {mask.numel()} classes are hard, and this model has {number}")
    if mask is None and not cfg.STAGES.IMAGE_LEVEL:
        raise InputError(f"{checkpoint}: does not say which classes are hard; name them in HARD_CLASSES")
    if mask is not None and (mask.any() or not cfg.STAGES.IMAGE_LEVEL):
        return mask.tolist()
    logger.info("%s: names no hard class; it is evaluated on the held-out images", checkpoint)
    model, (_, held_out) = _load(build_model(cfg), cfg, checkpoint), split_records(cfg)
    figures = held_out_figures(cfg, model, held_out, "none")
    return classes_found_hard(cfg, figures, held_out[0]["source"].classes).tolist()


def is_finished(cfg: CfgNode) -> bool:
    """Whether a stage's last checkpoint has as many iterations as the configuration asks for."""
    path = Path(cfg.OUTPUT_DIR, LAST)
    return is_usable(path) and read_state_dict(path).get("iteration", -1) + 1 >= cfg.SOLVER.MAX_ITER


def _result(cfg: CfgNode, stage: str) -> str:
    """The checkpoint that the next stage starts from: a stage's best, or its last without held-out images."""
    given = given_checkpoint(cfg, stage)
    if given:
        return given
    folder = stage_folder(cfg, stage)
    for name in (BEST, LAST):
        path = os.path.join(folder, name)
        if is_usable(Path(path)):
            return path
    raise InputError(f"{folder}: stage {stage} has no finished checkpoint; train it first (--stage all trains all)")


def _finish(cfg: CfgNode, stage: str) -> None:
    """Put the model of a stage's best and last checkpoint, or of the one that stands for it, into the run's folder,
    whole and without the trainer's state."""
    comm.synchronize()
    if comm.is_main_process():
        folder = Path(stage_folder(cfg, stage))
        files = [folder / name for name in (BEST, LAST) if is_usable(folder / name)]
        for file in files:
            state = read_state_dict(file)
            kept = {key: value for key, value in state.items() if key in ("model", "iteration", FITTED)}
            write_whole(kept, Path(cfg.OUTPUT_DIR, file.name))
        if not files:  # one of elsewhere, which may be that of an image level alone
            model = _load(build_model(cfg), cfg, _result(cfg, stage))
            write_whole({"model": model.state_dict()}, Path(cfg.OUTPUT_DIR, LAST))
        if folder / BEST not in files:  # where nothing is held out now, an earlier run's would pass for this one's
            _move_aside(Path(cfg.OUTPUT_DIR), [Path(cfg.OUTPUT_DIR, BEST)])
    comm.synchronize()


def _load(model: NightLab, cfg: CfgNode, path: str, fitted: FittedTo | None = None, anew: str = "") -> NightLab:
    """The model with the weights of an earlier stage, or of an image level trained alone; STAGES.DETECTOR is more.

    `fitted` gets to know what images these were fitted to; the part `anew` stays as it is.
    """
    checkpointer = NightLabCheckpointer(
        model,
        allow_pickle=cfg.MODEL.ALLOW_PICKLE,
        accept_image_level=not cfg.STAGES.DETECTOR,
        anew=anew,
        fitted=fitted or FittedTo(),
    )
    checkpointer.load_start(path)
    return model
