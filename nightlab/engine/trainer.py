"""The training loop on detectron2's engine: exact on resume, validated on held-out images, best and last kept."""

import logging
import math
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, TrainerBase, create_ddp_model, hooks
from detectron2.modeling import build_model
from detectron2.utils import comm
from detectron2.utils.env import seed_all_rng
from detectron2.utils.events import CommonMetricPrinter, EventStorage
from torch import nn

from nightlab.data.region_mapper import FrameMapper
from nightlab.data.stage_data import STAGE_KEYS, StageData
from nightlab.engine.checkpoint import NightLabCheckpointer
from nightlab.engine.faults import BadFiles, BadSteps, DeadWorkers
from nightlab.engine.fitted import FittedTo, check_unfitted, warn_of_fitted
from nightlab.engine.gains import GAINS, full_gain, gains_of
from nightlab.engine.in_tensorboard import put_gains, put_levels
from nightlab.engine.keeping import KeepBest, KeepPeriodic, StopWhenAsked
from nightlab.engine.optimizer import build_lr_scheduler, build_optimizer
from nightlab.engine.step import GuardedTrainer
from nightlab.engine.sync_norm import synchronise_batch_norm
from nightlab.engine.validation import Validation, classes_found_hard, classes_named_hard, held_out_figures
from nightlab.modeling.light import Adaptation
from nightlab.modeling.weights import load_backbone_weights
from nightlab.signals import Stopped, StopRequest

logger = logging.getLogger(__name__)

# Which of the stages fit a level to labels.
FITTING = ("adapt", "image", "region")
# Where the regions come from on held-out images: the region level is judged before there is a detector.
VALIDATION_SOURCES = {"region": "ground_truth", "rdn": "detector", "hdm": "detector"}


class NightLabTrainer(DefaultTrainer):
    """One stage of training. `DATASETS.VAL` (or the held-out share of TRAIN) chooses the best checkpoint.

    What a step sees is a function of (seed, stage, iteration, slot), so that a resumed run repeats the undisturbed one.
    """

    def __init__(self, cfg: CfgNode, *, hard: Sequence[bool] | None = None, watching: Sequence[hooks.HookBase] = ()):
        """
        Args:
            hard: which classes are hard; the stages after the image level need it.
            watching: hooks before its own, which see a step and nothing else.
        """
        TrainerBase.__init__(self)
        self.cfg = cfg
        self.stage = cfg.MODEL.NIGHTLAB.STAGE
        self._data = StageData(cfg, hard)
        logger.info("%d images to train on, %d held out", len(self._data.train), len(self._data.held_out))
        if cfg.SEED >= 0:
            # What no checkpoint brings begins as in a process that has done nothing before: in one like that a stage
            # begins anew that was killed before its first checkpoint.
            seed_all_rng(cfg.SEED + comm.get_rank())
        model: Any = synchronise_batch_norm(build_model(cfg), cfg)
        optimizer = build_optimizer(cfg, model)
        loader = self._data.loader(learns_light=model.learns_light)
        self.scheduler = build_lr_scheduler(cfg, optimizer)
        on_cpu = {} if cfg.MODEL.DEVICE.startswith("cuda") else {"device_ids": None}
        ddp_model = create_ddp_model(model, broadcast_buffers=False, **on_cpu)
        self._stop = StopRequest()
        self._trainer = GuardedTrainer(
            ddp_model,
            loader,
            optimizer,
            amp=cfg.SOLVER.AMP.ENABLED and cfg.MODEL.DEVICE.startswith("cuda"),
            # Metrics are read off the device once per LOG_PERIOD: reading them every step would wait for it.
            gather_metric_period=cfg.SOLVER.LOG_PERIOD,
            steps=BadSteps(cfg.SOLVER.STOP_AFTER_BAD_STEPS),
            files=BadFiles(cfg.DATALOADER.MAX_BAD_FILES),
            workers=DeadWorkers(cfg.DATALOADER.MAX_DEAD_WORKERS),
            stop=self._stop,
            accumulate=cfg.SOLVER.ACCUMULATE,
            divide_together=model.divided_together,
            recomputes=any(
                part.CHECKPOINT_ACTIVATIONS
                for part in (cfg.MODEL.TIMM, cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.HARDNESS.TIMM)
            ),
        )
        self.fitted = FittedTo()
        self.checkpointer = NightLabCheckpointer(
            ddp_model,
            cfg.OUTPUT_DIR,
            allow_pickle=cfg.MODEL.ALLOW_PICKLE,
            trainer=weakref.proxy(self),
            fitted=self.fitted,
        )
        self.start_iter = 0
        self.max_iter = cfg.SOLVER.MAX_ITER
        self.register_hooks([*watching, *self.build_hooks()])

    def resume_or_load(self, resume: bool = True) -> None:
        """Continue from the run's last checkpoint, or start from MODEL.WEIGHTS, or the backbone's start weights."""
        resumes = resume and self.checkpointer.has_checkpoint()
        if resume and not resumes:
            logger.warning("%s: no checkpoint to resume from, training starts at iteration 0", self.cfg.OUTPUT_DIR)
        model = unwrap(self.model)
        if self.cfg.MODEL.TIMM.WEIGHTS and not self.cfg.MODEL.WEIGHTS and not resumes:
            load_backbone_weights(model.image_level.backbone, self.cfg.MODEL.TIMM.WEIGHTS)
        own = model.detector.backbone if self.stage == "rdn" else None
        rates = list(self.scheduler.base_lrs)
        super().resume_or_load(resume)
        if resumes:
            self._take_rates(rates)
        if own is not None and self.cfg.MODEL.HARDNESS.TIMM.WEIGHTS and not resumes:
            load_backbone_weights(own, self.cfg.MODEL.HARDNESS.TIMM.WEIGHTS)
        if self.stage in FITTING:
            warn_of_fitted(self.fitted, self._data.held_out)
            self.fitted.add(self._data.train)
        if self.cfg.MODEL.HARDNESS.LABELS == "hdm":
            check_unfitted(self.fitted, self._data.unseen)
        self._trainer.data_loader.batch_sampler.start_iter = self.start_iter

    def _take_rates(self, rates: Sequence[float]) -> None:
        """The configuration's learning rates, and not those of the checkpoint: lowering BASE_LR is how a run goes on
        that was stopped by its loss."""
        self.scheduler.base_lrs = list(rates)
        for group, base, rate in zip(self.optimizer.param_groups, rates, self.scheduler.get_lr(), strict=True):
            group["initial_lr"], group["lr"] = base, rate

    def build_hooks(self) -> list[Any]:
        cfg = self.cfg
        checkpoints = KeepPeriodic(self.checkpointer, cfg.SOLVER.CHECKPOINT_PERIOD, max_to_keep=2)
        ret = [hooks.IterationTimer(), hooks.LRScheduler()]
        if unwrap(self.model).learns_light:
            ret.append(AverageLight())
        if self._data.held_out and self.stage != "light":
            ret.append(Validation(cfg.TEST.EVAL_PERIOD, self.validate))
            if comm.is_main_process():
                ret.append(KeepBest(cfg.TEST.EVAL_PERIOD, self.checkpointer))
        if unwrap(self.model).learns_light and comm.is_main_process():
            ret.append(WatchLight())
        if comm.is_main_process():
            ret += [checkpoints, hooks.PeriodicWriter(self.build_writers(), period=cfg.SOLVER.LOG_PERIOD)]
        return [*ret, StopWhenAsked(self.checkpointer)]

    def build_writers(self) -> list[Any]:
        _, *others = super().build_writers()
        return [ProgressPrinter(self.max_iter), *others]

    def measure_gains(self) -> None:
        """For the stage hdm, once its weights are there: the labels that it learns from."""
        mapper = self._data.mapper
        assert isinstance(mapper, FrameMapper)
        path = Path(self.cfg.OUTPUT_DIR, GAINS)
        mapper.measured = gains_of(unwrap(self.model), self._data.train, path, keep=self.start_iter > 0)
        mapper.full_gain = full_gain(mapper.measured)

    def before_train(self) -> None:
        super().before_train()
        mapper = self._data.mapper
        if isinstance(mapper, FrameMapper) and mapper.measured and self.start_iter == 0:
            put_gains(mapper.measured)

    def validate(self) -> dict[str, dict[str, dict[str, float]]]:
        """Figures on the held-out images; none where a signal comes meanwhile: then this was the last step. In the
        stages "adapt" and "image", the classes found hard, or those of HARD_CLASSES, go into the model, and so into its
        checkpoints; the region stage is judged on the hard regions of the ground truth."""
        model = unwrap(self.model)
        source, bad = VALIDATION_SOURCES.get(self.stage, "none"), dict[str, None]()
        # After the last step, the final checkpoint, by which the stage is finished, must not come before its figures.
        leave = None if self.iter + 1 == self.max_iter else lambda: bool(self._stop.signal)
        figures = held_out_figures(
            self.cfg, model, self._data.held_out, source, bad=bad, leave=leave, workers=self._trainer.workers
        )
        self._trainer.files.look_back(list(bad))
        if not figures:
            logger.warning("iteration %d: the validation is left; the run that goes on makes up for it", self.iter)
            self._trainer.stop_together()
            return {}
        if comm.is_main_process():
            put_levels(model, self._data.held_out)
        if self.stage in ("adapt", "image"):
            classes = self._data.held_out[0]["source"].classes
            found, by_name = classes_found_hard(self.cfg, figures, classes), classes_named_hard(self.cfg, classes)
            model.hard_class_mask.copy_(torch.from_numpy(by_name) if by_name.any() else found)
        kept = {key: value for key, value in figures.items() if not math.isnan(value) and not key.startswith("ACC-")}
        return {"val": {"sem_seg": kept}}

    def train(self) -> None:
        """Raises Stopped where a signal asked to stop: after a whole step, with a checkpoint."""
        with self._stop.heeded():
            super().train()
        if self._stop.signal:  # after the last step
            raise Stopped

    def run_step(self) -> None:
        # Dropout and drop path follow from the iteration too, so that resuming needs no stored generator states.
        key = (self.cfg.SEED, STAGE_KEYS[self.stage], self.iter, comm.get_rank())
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        super().run_step()


class ProgressPrinter(CommonMetricPrinter):
    """detectron2's, which divides by zero where the writers close before the time of any step is known: when a run is
    stopped in its first iterations, right after they wrote."""

    _last_write: tuple[int, float] | None

    def _get_eta(self, storage: EventStorage) -> str | None:
        if self._last_write is not None and self._last_write[0] == storage.iter:
            self._last_write = None
        return super()._get_eta(storage)


class AverageLight(hooks.HookBase):
    """Keeps the average of the generators that learn, in each process the same."""

    def before_train(self) -> None:
        self._parts = [part for part in unwrap(self.trainer.model).modules() if isinstance(part, Adaptation)]

    def after_step(self) -> None:
        for part in self._parts:
            part.keep_average()


class WatchLight(hooks.HookBase):
    """Says so when the discriminator of the light adaptation wins outright, or cannot tell day from night at all."""

    METRIC = "light/discriminator_accuracy"
    WINDOW = 10  # records; one is made every twenty iterations

    def __init__(self) -> None:
        self._said = ""

    def after_step(self) -> None:
        history = self.trainer.storage.histories().get(self.METRIC)
        if history is None or len(history.values()) < self.WINDOW:
            return
        accuracy = history.median(self.WINDOW)
        state = "wins" if accuracy > 0.98 else "loses" if accuracy <= 0.5 else ""
        if state and state != self._said:
            meaning = (
                "it wins outright, so that the light map learns little from it: raise MODEL.LIGHT.GAN_WEIGHT, or lower "
                "DISCRIMINATOR_CHANNELS (or CYCLE_WEIGHT, of a translation)"
                if state == "wins"
                else "it cannot tell day from adapted night: either they look alike, or it is too weak (raise "
                "MODEL.LIGHT.DISCRIMINATOR_CHANNELS)"
            )
            logger.warning("light discriminator right on %.0f %% of patches: %s", 100 * accuracy, meaning)
        self._said = state


def unwrap(model: nn.Module) -> Any:
    """The model inside DistributedDataParallel, or the model itself."""
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
