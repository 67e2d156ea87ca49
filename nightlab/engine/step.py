"""One training step, of one batch or several; a loss that is no number leaves no trace in weights, optimiser, norms."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import AMPTrainer, SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from nightlab.data.workers import DEATHS, noticed_when_asked
from nightlab.engine.faults import BadFiles, BadSteps, DeadWorkers, NormStatistics
from nightlab.errors import InputError
from nightlab.signals import StopRequest

Batches = list[list[dict[str, Any]]]


class GuardedTrainer(AMPTrainer):
    """detectron2's step, with or without AMP, that all processes take, skip and end together.

    A step may take its images in several batches: their gradients add up in each process, and go to the others with the
    last one. Between its forward and backward pass the processes agree, by one small reduction on the device, on three
    things: whether a loss of any of them is no finite number, whether any was asked to stop, and whether any met a bad
    file. If a loss is bad, every gradient is made NaN. AMP's scaler then skips the step by itself; what was agreed is
    read when the scaler, as torch has it, waits for the gradient. Without AMP the gradient's norm is looked at, for
    which a GPU must be waited for as well. A step that AMP skips because the scaled gradient overflows is no fault,
    unless it does so unscaled: then it is the gradient itself that is no finite number.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Any,
        optimizer: torch.optim.Optimizer,
        *,
        amp: bool,
        gather_metric_period: int,
        steps: BadSteps,
        files: BadFiles,
        workers: DeadWorkers,
        stop: StopRequest,
        accumulate: int = 1,
        divide_together: Callable[[Batches], Batches] = list,
        recomputes: bool = False,
    ):
        """
        Args:
            accumulate: batches in a step.
            divide_together: prepares them where there are several, so that the mean of their losses is that of all.
            recomputes: the backward pass repeats parts of the forward pass, by which BatchNorm should not learn twice.
        """
        scaler = torch.amp.GradScaler("cuda", enabled=amp)
        super().__init__(model, data_loader, optimizer, gather_metric_period, grad_scaler=scaler)
        self.amp = amp
        self.steps = steps
        self.files = files
        self.workers = workers
        self.stop = stop
        self.accumulate = accumulate
        self._divide_together = divide_together
        self._recomputes = recomputes
        self._norms: NormStatistics | None = None
        self._others_stop = False
        self._steps_taken = 0
        optimizer.register_step_post_hook(self._count_step)

    def _count_step(self, *_: Any) -> None:
        self._steps_taken += 1

    @property
    def stop_now(self) -> bool:
        """After a step: whether this was the last one, the same in all processes."""
        return self._others_stop or (comm.get_world_size() == 1 and bool(self.stop.signal))

    def stop_together(self) -> None:
        """After a step: make it the last one. All processes must do so."""
        self._others_stop = True

    def run_step(self) -> None:
        assert self.model.training, "the model was left in evaluation mode"
        start = time.perf_counter()
        batch = self._next_batch()
        data_time = time.perf_counter() - start
        self._norms = self._norms or NormStatistics(self.model)
        self._norms.keep()
        self.optimizer.zero_grad()  # before the forward pass, whose maps can take the place of the old gradients
        losses, agreed = self._gradients(batch)
        self.after_backward()
        is_bad, self._others_stop, new_files = self._take(agreed)
        if is_bad:
            self._norms.restore()
            self.steps.bad(self.iter, losses, batch)
        else:
            self.steps.good()
            self._write_metrics(losses, data_time)
        if new_files:
            self.files.share()

    def _next_batch(self) -> list[dict[str, Any]]:
        """The batch of this iteration; where a worker of the loader has died, from new ones."""
        while True:
            try:
                with noticed_when_asked():  # the first time, the loader begins here
                    batches = self._data_loader_iter
                return next(batches)
            except DEATHS as error:
                self.workers.died(error, f"iteration {self.iter}")
            self._data_loader_iter_obj = None
            self.data_loader._iterator = None  # which keeps its workers from one pass to the next
            self.data_loader.batch_sampler.start_iter = self.iter

    def _gradients(self, batch: list[dict[str, Any]]) -> tuple[dict[str, Tensor], Tensor]:
        """Adds up the gradients of a step; returns its losses, and what the processes agree on (see `_agree`)."""
        batches = in_batches(batch, self.accumulate)
        if len(batches) > 1:
            batches = self._divide_together(batches)
        every: list[dict[str, Tensor]] = []
        new_files = self.files.look(batch)
        for number, part in enumerate(batches, 1):
            is_last = number == len(batches)
            with nullcontext() if is_last else self._by_itself():
                with self._precision():
                    losses = self.model(part)
                    total = sum(losses.values()) / len(batches)
                every.append({name: loss.detach() for name, loss in losses.items()})
                learned = NormStatistics(self.model) if self._recomputes else None
                if is_last:
                    agreed = self._agree(torch.stack([loss for x in every for loss in x.values()]), new_files)
                    total = total * torch.where(agreed[0] > 0, torch.nan, 1.0)  # times 1 changes no bit
                self.grad_scaler.scale(total).backward()
                if learned:
                    learned.restore()
        return {name: torch.stack([x[name] for x in every]).mean() for name in every[0]}, agreed

    def _by_itself(self) -> AbstractContextManager[Any]:
        """Inside, gradients stay in their process."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", dtype=self.precision) if self.amp else nullcontext()

    @torch.no_grad()
    def _agree(self, losses: Tensor, new_files: bool) -> Tensor:
        """`[3]`: is a loss of the batches bad, is a stop wanted, are there new bad files, in any process (0 or 1)."""
        is_bad = (~torch.isfinite(losses)).any().float()
        asked = [torch.full_like(is_bad, float(said)) for said in (bool(self.stop.signal), new_files)]
        agreed = torch.stack([is_bad, *asked])
        if comm.get_world_size() > 1:
            distributed.all_reduce(agreed, op=distributed.ReduceOp.MAX)
        return agreed

    def _take(self, agreed: Tensor) -> tuple[bool, bool, bool]:
        """Take the optimiser's step unless it is bad; returns whether it was, and the rest of what was agreed."""
        if not self.amp:
            is_bad = not bool(torch.isfinite(self._gradient_norm()))
            if not is_bad:
                self.optimizer.step()
            _, stop, new_files = agreed.tolist()
            return is_bad, bool(stop), bool(new_files)
        read, before = _reading(agreed), self._steps_taken
        self.grad_scaler.step(self.optimizer)
        is_bad, stop, new_files = (bool(value) for value in read())
        scale = None
        if self._steps_taken == before:  # skipped
            current = self.grad_scaler.get_scale()
            is_bad = is_bad or current <= 1
            scale = current if is_bad else None  # which a bad loss or gradient says nothing about
        self.grad_scaler.update(scale)
        return is_bad, stop, new_files

    def _gradient_norm(self) -> Tensor:
        """Of all gradients together: no finite number where any of them is none."""
        grads = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))

    def state_dict(self) -> dict[str, Any]:
        counted = {"bad_steps": self.steps.total, "bad_files": self.files.known, "dead_workers": self.workers.total}
        return {**super().state_dict(), **counted}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        SimpleTrainer.load_state_dict(self, state_dict)
        # Checkpoints of earlier versions have none.
        self.steps.total = state_dict.get("bad_steps", 0)
        self.files.known = list(state_dict.get("bad_files", ()))
        self.workers.total = state_dict.get("dead_workers", 0)
        if self.amp and state_dict.get("grad_scaler"):  # empty in a checkpoint that was made without AMP
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


def in_batches(images: list[dict[str, Any]], number: int) -> Batches:
    """The images of a step in so many batches of one size."""
    size = len(images) // number
    return [images[i : i + size] for i in range(0, len(images), size)]


def check_batch(solver: CfgNode, stage: str) -> None:
    """Raises InputError where the images of a step cannot be shared by the processes, and by the batches of each."""
    processes, images, batches = comm.get_world_size(), solver.IMS_PER_BATCH, solver.ACCUMULATE
    if batches < 1 or images < 1 or images % (processes * batches):
        raise InputError(
            f"SOLVER.IMS_PER_BATCH: {images} images of stage {stage} cannot be shared equally by {processes} processes "
            f"with {batches} batches a step each (SOLVER.ACCUMULATE); take a multiple of {processes * max(batches, 1)}"
        )


def _reading(values: Tensor) -> Callable[[], list[float]]:
    """Starts copying from the device; the function that comes back waits for the copy and for nothing after it."""
    # Into pinned memory: a copy to any other waits for the device at once.
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> list[float]:
        copied.synchronize()
        return copy.tolist()

    return read
