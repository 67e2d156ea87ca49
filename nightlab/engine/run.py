"""A whole run: train, calibrate, then evaluate the best and the last checkpoint on DATASETS.TEST; or evaluate only."""

import json
import logging
import os
import shutil
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch import nn

from nightlab.config import changed_settings, load_config, settings_of
from nightlab.data import catalog
from nightlab.data.loader import build_test_loader
from nightlab.data.workers import explained_death
from nightlab.engine.alone import alone_in, check_writable
from nightlab.engine.calibrate import fit_run, is_unfitted, warn_unfitted
from nightlab.engine.checkpoint import NightLabCheckpointer, is_usable
from nightlab.engine.environment import record_environment
from nightlab.engine.faults import DeadWorkers
from nightlab.engine.plan import check_names
from nightlab.engine.stages import BEST, LAST, train_stages
from nightlab.engine.trainer import unwrap
from nightlab.engine.validation import classes_named_hard, evaluated
from nightlab.errors import InputError, enumerate_some
from nightlab.evaluation.cost import write_cost
from nightlab.evaluation.evaluator import NightLabEvaluator, evaluation_file, results_table
from nightlab.evaluation.hardness_check import write_hardness
from nightlab.evaluation.light_pictures import write_light_pictures
from nightlab.evaluation.pictures import write_pictures
from nightlab.evaluation.tta import NightLabWithTTA
from nightlab.files import explained_full_disk, write_json_aside, written_aside
from nightlab.modeling.cpu_memory import keep_freed_memory
from nightlab.modeling.inference import check_inference, how_tested, prepare
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.weights import read_state_dict
from nightlab.plain_yaml import load_yaml
from nightlab.report import write_report
from nightlab.signals import ends_in_one_line

logger = logging.getLogger(__name__)

CHECKPOINTS = {"best": BEST, "last": LAST}


def setup(args: Namespace) -> CfgNode:
    """The run's frozen configuration, its folder, logger and seed, from the arguments of `train_net.py`.

    Raises:
        InputError: as `configured`, or the folder cannot be written to.
    """
    cfg = configured(args)
    begin(cfg, args)
    return cfg


def configured(args: Namespace) -> CfgNode:
    """The run's frozen configuration.

    Raises:
        InputError: the configuration or a card it names is unusable, a data set it names does not fit the model, or the
            device cannot run it as TEST says.
    """
    cfg = load_config(args.config_file, args.opts)
    catalog.register_cards(cfg.DATASETS.CARDS)
    check_names(cfg)
    check_datasets(cfg)
    check_inference(cfg, torch.device(cfg.MODEL.DEVICE))  # now, and not after the training
    cfg.freeze()
    return cfg


def begin(cfg: CfgNode, args: Namespace) -> None:
    """The run's folder with its configuration, loggers and seed. Raises InputError where it cannot be written to."""
    check_writable(cfg.OUTPUT_DIR)
    if cfg.MODEL.DEVICE == "cpu":
        keep_freed_memory()
    changed = changed_since(cfg) if args.resume and not args.eval_only else []
    with kept_config(cfg, for_good=args.eval_only):
        default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="nightlab")  # beside detectron2's own
    if changed:
        logger.warning(
            "settings have changed since this run was last begun; what is finished stays as it is: %s",
            enumerate_some(changed, 12),
        )


def changed_since(cfg: CfgNode) -> list[str]:
    """What to say of the settings that differ from those that the run's folder was last begun with."""
    path = Path(cfg.OUTPUT_DIR, "config.yaml")
    if not path.is_file():
        return []
    try:
        old = load_yaml(path, "configuration")
    except (InputError, OSError) as error:
        return [f"those before cannot be read: {error}"]
    if not isinstance(old, dict):
        return [f"those before cannot be read: {path} holds no keys"]
    return changed_settings(*(settings_of(values, leave=["OUTPUT_DIR"]) for values in (old, cfg)))


@contextmanager
def kept_config(cfg: CfgNode, *, for_good: bool) -> Iterator[None]:
    """Inside, detectron2 writes the run's configuration over that which the folder has; where it cannot, as on a full
    disk, that one stays.

    `for_good`: as it does beside an evaluation's, which gets a name of its own: the report and its users go by that of
    the training.
    """
    path, aside = Path(cfg.OUTPUT_DIR, "config.yaml"), Path(cfg.OUTPUT_DIR, ".config.trained.yaml")
    if not comm.is_main_process() or not (path.is_file() or aside.is_file()):
        yield
        return
    if not aside.is_file():  # it is there where a process was killed right here
        with written_aside(aside) as copy:  # a copy, since detectron2 reads the file that --config-file names
            shutil.copyfile(path, copy)
    try:
        yield
    except BaseException:
        aside.replace(path)
        raise
    if for_good:
        path.replace(path.with_name("config_eval.yaml"))
        aside.rename(path)
    else:
        aside.unlink()


def check_datasets(cfg: CfgNode) -> None:
    """Raises InputError where a named data set is missing, has missing files, or not as many classes as the model."""
    for key in ("TRAIN", "VAL", "TEST"):
        names = cfg.DATASETS[key]
        if not names:
            continue
        source = catalog.load(names)[0]["source"]
        if len(source.classes) != cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES:
            raise InputError(
                f"DATASETS.{key}: {names[0]} has {len(source.classes)} classes and the model "
                f"{cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES}; set MODEL.SEM_SEG_HEAD.NUM_CLASSES {len(source.classes)}"
            )


@ends_in_one_line()
@explained_death()
@explained_full_disk()
def run(args: Namespace) -> dict[str, Any]:
    """What `train_net.py` does in every process; the first one returns the figures by checkpoint and data set."""
    cfg = configured(args)
    if args.eval_only:  # also of a run that goes on
        begin(cfg, args)
        return evaluate_only(cfg)
    with alone_in(cfg.OUTPUT_DIR) if comm.is_main_process() else nullcontext(), catalog.looked_up_once():
        begin(cfg, args)
        return train_and_evaluate(cfg, args)


def train_and_evaluate(cfg: CfgNode, args: Namespace) -> dict[str, Any]:
    """The stages, the calibration, the figures and the report; returns the figures as `run`."""
    record_environment(cfg.OUTPUT_DIR, cfg.MODEL.DEVICE)
    model = train_stages(cfg, args.stage, resume=args.resume)
    results = {}
    if args.stage != "light":  # after it alone there is no segmentation to evaluate yet
        fit_run(cfg, unwrap(model), {kind: Path(cfg.OUTPUT_DIR, file) for kind, file in CHECKPOINTS.items()})
        results = evaluate_run(cfg, model)
    if comm.is_main_process():
        show_run(cfg, unwrap(model), with_predictions=args.stage != "light")
    return results


def evaluate_only(cfg: CfgNode) -> dict[str, Any]:
    """Figures of MODEL.WEIGHTS, or of the run's last checkpoint, on every data set of DATASETS.TEST."""
    model = build_model(cfg)
    checkpointer = NightLabCheckpointer(model, cfg.OUTPUT_DIR, allow_pickle=cfg.MODEL.ALLOW_PICKLE)
    weights = cfg.MODEL.WEIGHTS or checkpointer.get_checkpoint_file()
    if not weights:
        raise InputError(f"{cfg.OUTPUT_DIR}: no checkpoint to evaluate; give MODEL.WEIGHTS FILE, or train first")
    return evaluate_checkpoint(cfg, model, weights, "eval")


def evaluate_run(cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
    """Figures of the best checkpoint (by held-out images) and of the last on DATASETS.TEST, as
    `evaluation/<data set>/<best|last>.json` in the run's folder."""
    results: dict[str, Any] = {}
    comm.synchronize()  # the first process may still be writing them
    paths = {kind: Path(cfg.OUTPUT_DIR, file) for kind, file in CHECKPOINTS.items()}
    iterations = {kind: read_state_dict(path).get("iteration") for kind, path in paths.items() if is_usable(path)}
    for kind, iteration in iterations.items():
        twin = next((k for k in results if iterations[k] == iteration is not None), None)
        if twin:
            results[kind] = results[twin]
            if comm.is_main_process():
                copy_evaluation(cfg, twin, kind)
        else:
            results[kind] = evaluate_checkpoint(cfg, model, str(paths[kind]), kind)
    return results


def copy_evaluation(cfg: CfgNode, twin: str, kind: str) -> None:
    """The files of a checkpoint's evaluation, from those of another checkpoint of the same iteration."""
    for name in cfg.DATASETS.TEST:
        source, target = evaluation_file(cfg, name, twin), evaluation_file(cfg, name, kind)
        counts = source.with_name(f"{source.stem}_per_image.npz")
        shutil.copyfile(counts, target.with_name(f"{target.stem}_per_image.npz"))
        document = json.loads(source.read_text(encoding="utf-8"))
        document |= {"kind": kind, "checkpoint": CHECKPOINTS[kind], "per_image": f"{target.stem}_per_image.npz"}
        write_json_aside(target, document)
        logger.info("%s, %s checkpoint: the same iteration as the %s one: %s", name, kind, twin, target)


def evaluate_checkpoint(cfg: CfgNode, model: nn.Module, weights: str, kind: str) -> dict[str, Any]:
    """Load `weights` into `model` and evaluate it on every data set of DATASETS.TEST."""
    checkpoint = NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(weights, checkpointables=[])
    check_hard_classes(cfg, unwrap(model), weights)
    warn_unfitted(cfg, unwrap(model), weights)
    extra = {"checkpoint": os.path.basename(weights), "iteration": checkpoint.get("iteration"), "kind": kind}
    if unwrap(model).region_level is not None:
        extra["regions"] = cfg.MODEL.NIGHTLAB.REGIONS
        extra["merge"] = unwrap(model).rule_in_force
    extra["calibrated"] = cfg.MODEL.NIGHTLAB.CALIBRATE
    extra["class_bias"] = cfg.MODEL.NIGHTLAB.CLASS_BIAS and not is_unfitted(unwrap(model), "class_bias")
    extra["precision"] = how_tested(cfg)
    extra["scales"] = list(cfg.TEST.AUG.SCALES) if cfg.TEST.AUG.ENABLED else [1.0]
    results = {}
    for name in cfg.DATASETS.TEST:
        output = evaluation_file(cfg, name, kind)
        figures = evaluate(cfg, model, name, output, extra)
        if figures is not None:
            results[name] = figures
            logger.info("%s, %s checkpoint (%s): %s", name, kind, weights, output)
    return results


def check_hard_classes(cfg: CfgNode, model: NightLab, weights: str) -> None:
    """Raises InputError where the configuration names hard classes that do not exist, or not all of those that the
    region level was trained for. Of more than those the log tells: training leaves out what it sees no pixel of."""
    named = cfg.MODEL.NIGHTLAB.HARD_CLASSES
    if not named:
        return
    classes = catalog.load(cfg.DATASETS.TEST or cfg.DATASETS.TRAIN)[0]["source"].classes
    by_name = classes_named_hard(cfg, classes)
    if model.region_level is None or model.region_level.all_classes:
        return
    used = model.region_level.used.cpu().numpy()
    trained, others = (list(np.array(classes)[mask]) for mask in (used, by_name & ~used))
    if others:
        logger.warning(
            "%s: its region level was not trained for %s of MODEL.NIGHTLAB.HARD_CLASSES, which count as other classes",
            weights,
            ", ".join(others),
        )
    if (used & ~by_name).any():
        raise InputError(
            f"{weights}: its region level was trained for {', '.join(trained)}, and MODEL.NIGHTLAB.HARD_CLASSES names "
            f"{', '.join(named)}; leave HARD_CLASSES empty to take the checkpoint's, or train the stages again"
        )


def as_tested(cfg: CfgNode, model: nn.Module) -> nn.Module:
    """The model, in multi-scale testing where TEST.AUG asks for it."""
    return NightLabWithTTA(cfg, model) if cfg.TEST.AUG.ENABLED else model


def show_run(cfg: CfgNode, model: nn.Module, *, with_predictions: bool = True) -> None:
    """Pictures of the best checkpoint (without held-out images: the last) on DATASETS.TEST's first set, what its
    detector knows of gain, what a frame costs, and the report.

    For one process.
    """
    kind, weights = next((k, w) for k, f in CHECKPOINTS.items() if is_usable(w := Path(cfg.OUTPUT_DIR, f)))
    for name in cfg.DATASETS.TEST[:1]:
        NightLabCheckpointer(model, allow_pickle=cfg.MODEL.ALLOW_PICKLE).load(str(weights), checkpointables=[])
        if with_predictions:
            with unwrap(model).returning(scores=False):
                write_pictures(cfg, as_tested(cfg, model), name, evaluation_file(cfg, name, kind))
        write_light_pictures(cfg, unwrap(model).eval(), name)
    if with_predictions:
        write_hardness(cfg, unwrap(model).eval())
        write_cost(cfg, unwrap(model))
    logger.info("report: %s", write_report(cfg.OUTPUT_DIR))


def evaluate(cfg: CfgNode, model: nn.Module, name: str, output: Path, extra: dict[str, Any]) -> dict[str, Any] | None:
    """Figures of `model` on one data set, printed as a table and written to `output`; None but on the first process."""
    inner = unwrap(model)
    hard = inner.hard_class_mask.tolist()
    records = catalog.load(name)
    classes = records[0]["source"].classes
    keep = cfg.TEST.PREDICTIONS
    evaluator = NightLabEvaluator(name, classes, hard, output=output, extra=extra, predictions=keep)
    inner.source = cfg.MODEL.NIGHTLAB.REGIONS if inner.region_level is not None else "none"
    prepare(inner, cfg)
    workers = DeadWorkers(cfg.DATALOADER.MAX_DEAD_WORKERS)
    with inner.returning(scores=False):
        figures = evaluated(as_tested(cfg, inner), build_test_loader(cfg, records), evaluator, workers)
    if not comm.is_main_process():
        return None
    logger.info("%s\n%s", name, results_table(figures, classes, hard))
    return figures
