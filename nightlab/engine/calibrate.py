"""Fits a model's calibration on held-out images, never on test images, and puts it into checkpoints."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from nightlab.data.held_out import share_held_out, split_records
from nightlab.data.mapper import TestMapper
from nightlab.engine.calibration_fit import calibrated, fit_detector, fit_levels
from nightlab.engine.checkpoint import NightLabCheckpointer, is_usable
from nightlab.errors import InputError, shortened
from nightlab.evaluation.evaluator import NightLabEvaluator
from nightlab.evaluation.pictures import spread
from nightlab.files import write_json_aside, written_aside
from nightlab.modeling.calibration import BUFFERS_OF, UNCALIBRATED, is_uncalibrated, reset
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.weights import read_state_dict

logger = logging.getLogger(__name__)

FILE = "calibration.json"


def fit_run(cfg: CfgNode, model: NightLab, checkpoints: Mapping[str, Path]) -> dict[str, Any]:
    """Fit the calibration of a finished run's checkpoints (by kind, best and last) and keep it in them.

    Figures go to `calibration.json` in the run's folder. Without held-out images, or where those are test images, the
    checkpoints stay without one, and the log says so. For all processes.
    """
    comm.synchronize()  # the first process may still be writing them
    if not cfg.TEST.CALIBRATION_IMAGES:
        return {}
    try:
        held_out_records(cfg)
    except InputError as error:
        logger.warning("no calibration is fitted: %s", error)
        return {}
    documents: dict[str, Any] = {}
    fitted = None
    for kind, path in checkpoints.items():
        if not is_usable(path):
            continue
        iteration = read_state_dict(path).get("iteration")
        if documents and iteration == fitted is not None:  # the same weights as the one before
            documents[kind] = next(iter(documents.values()))
            if comm.is_main_process():
                write_calibrated(model, path, path)
        else:
            logger.info("calibration of %s", path)
            documents[kind], fitted = fit_file(cfg, model, path, path), iteration
    if comm.is_main_process():
        write_json_aside(Path(cfg.OUTPUT_DIR, FILE), documents)
    comm.synchronize()
    return documents


def held_out_records(cfg: CfgNode) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """At most TEST.CALIBRATION_IMAGES held-out images for the temperatures, and as many for the detector's score: of
    those that HDM has learned gain on, its score would tell too well.

    Raises:
        InputError: nothing is held out, or the held-out images are test images.
    """
    shared = sorted({*(cfg.DATASETS.VAL or cfg.DATASETS.TRAIN)} & {*cfg.DATASETS.TEST})
    if shared:
        raise InputError(
            f"DATASETS.VAL: {', '.join(shared)} is in DATASETS.TEST too; a calibration is never fitted on test images: "
            "name another set in DATASETS.VAL"
        )
    held_out = split_records(cfg)[1]
    if not held_out:
        raise InputError(
            "DATASETS.VAL: nothing is held out to fit a calibration on; name a data set there, or set "
            "DATASETS.VAL_FRACTION"
        )
    check = share_held_out(cfg, held_out)[1] if cfg.MODEL.HARDNESS.LABELS == "hdm" else held_out
    limit = cfg.TEST.CALIBRATION_IMAGES
    first, second = ([records[i] for i in spread(len(records), limit)] for records in (held_out, check))
    return first, second


@torch.no_grad()
def fit(cfg: CfgNode, model: NightLab) -> dict[str, Any]:
    """Fit the calibration of a model in place; what was fitted and, on its sample, ECE (percent) and NLL (nats) before
    and after. The processes share the images.

    Raises:
        InputError: as `held_out_records`.
    """
    images, check = held_out_records(cfg)
    pooled = model.pool is not None
    reset(model)
    document = {"images": len(images), **fit_levels(cfg, model, images)}
    if cfg.MODEL.HARDNESS.LABELS == "hdm" and pooled != (model.pool is not None):
        logger.info(
            "the detector has learned the gain of levels %s, and they are %s now",
            *(("pooled", "merged by their posteriors") if pooled else ("merged by their posteriors", "pooled")),
        )
    if model.detector is not None and model.region_level is not None and model.region_level.used.any():
        document["detector"] = {"images": len(check), **fit_detector(model, model.detector, check)}
    return document


@torch.no_grad()
def fit_merge(cfg: CfgNode, model: NightLab) -> None:
    """Fit in place, where they are asked for, what changes what is merged: HDM learns the gain of that. The processes
    share the images.

    Raises:
        InputError: as `fits_merge`.
    """
    reset(model, "class_bias", "merge_pool")
    if fits_merge(cfg):
        reset(model, *BUFFERS_OF["image_level"], *BUFFERS_OF["region_level"])
        training = model.training
        fit_levels(cfg, model, held_out_records(cfg)[0])
        model.train(training)


def fits_merge(cfg: CfgNode) -> bool:
    """Whether the configuration asks for it, and leaves images to fit on: without any, both levels are merged by their
    posteriors.

    Raises:
        InputError: as `held_out_records`, with CLASS_BIAS, which nothing can stand for.
    """
    if not cfg.MODEL.NIGHTLAB.CLASS_BIAS and not (cfg.MODEL.NIGHTLAB.MERGE == "pooled" and cfg.MODEL.REGION.ENABLED):
        return False
    try:
        if not cfg.TEST.CALIBRATION_IMAGES:
            raise InputError(
                "TEST.CALIBRATION_IMAGES: MODEL.NIGHTLAB.MERGE pooled and CLASS_BIAS are fitted on so many held-out "
                "images and these are 0; set it to 64"
            )
        held_out_records(cfg)
    except InputError as error:
        if cfg.MODEL.NIGHTLAB.CLASS_BIAS:
            raise
        logger.info("both levels are merged by their posteriors, for no weights can be fitted: %s", error)
        return False
    return True


def warn_unfitted(cfg: CfgNode, model: NightLab, weights: str) -> None:
    """Says in the log where the configuration asks for what a checkpoint does not have, and which changes nothing."""
    asked = []
    if model.region_level is not None and model.rule_in_force != cfg.MODEL.NIGHTLAB.MERGE:
        asked.append((logging.INFO, "MERGE pooled"))  # the default
    if cfg.MODEL.NIGHTLAB.CLASS_BIAS and is_unfitted(model, "class_bias"):
        asked.append((logging.WARNING, "CLASS_BIAS True"))
    for level, key in asked:
        logger.log(
            level,
            "%s: MODEL.NIGHTLAB.%s changes nothing, for the checkpoint has none: it was not fitted, or did not carry "
            "over from one half of the held-out images to the other; tools/calibrate.py tells and fits",
            weights,
            key,
        )


def is_unfitted(model: NightLab, name: str) -> bool:
    """Whether a buffer (a key of `UNCALIBRATED`) is as if nothing had been fitted."""
    return is_uncalibrated(name, model.get_buffer(name))


@torch.no_grad()
def with_and_without(cfg: CfgNode, model: NightLab) -> dict[str, dict[str, float]]:
    """mIoU and ECE, in percent, of both levels on the held-out images, without and with the model's calibration."""
    records = held_out_records(cfg)[0]
    source, hard = records[0]["source"], model.hard_class_mask.tolist()
    evaluators = {way: NightLabEvaluator("val", source.classes, hard, distributed=False) for way in (False, True)}
    with model.returning(scores=False):
        for record in records:
            given = TestMapper()(record)
            for way, evaluator in evaluators.items():
                with calibrated(model, way):
                    evaluator.process([given], model([given]))
    found = {("calibrated" if way else "not calibrated"): evaluator.evaluate() for way, evaluator in evaluators.items()}
    return {
        f"{level}, {way}": {key: figures[key] for key in ("mIoU", "ECE")}
        for way, results in found.items()
        for level, figures in (results or {}).items()
    }


def fit_file(cfg: CfgNode, model: NightLab, weights: Path, output: Path) -> dict[str, Any]:
    """Load a checkpoint, fit its calibration, and write the checkpoint with it, all else as it was, to `output`.

    Raises:
        InputError: `output` has another ending than .pth, which is known before anything is fitted, or as
            `write_calibrated`.
    """
    if output.suffix != ".pth":
        raise InputError(f"{output}: name a file that ends in .pth")
    NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(str(weights), checkpointables=[])
    document = fit(cfg, model)
    if comm.is_main_process():
        write_calibrated(model, weights, output)
    comm.synchronize()
    return document


def write_calibrated(model: NightLab, weights: Path, output: Path) -> None:
    """Write the checkpoint `weights` with the model's calibration in place of its own.

    Raises:
        InputError: `output` cannot be written.
    """
    state = read_state_dict(weights)
    held = state.get("model", state)
    held |= {name: value.cpu() for name, value in model.state_dict().items() if name in UNCALIBRATED}
    try:
        with written_aside(output) as aside:
            torch.save(state, aside)
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter, as for a full disk
        reason = getattr(error, "strerror", None) or shortened(str(error), 200)
        raise InputError(f"{output}: cannot be written ({reason}); make room, or name another file") from None
