"""One training step, which a loss that is no number leaves without a trace in weights, optimiser and BatchNorm."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from detectron2.engine import AMPTrainer, SimpleTrainer
from detectron2.utils import comm
from torch import Tensor, distributed, nn

from nightlab.engine.faults import BadFiles, BadSteps, NormStatistics
from nightlab.signals import StopRequest


class GuardedTrainer(AMPTrainer):
    """detectron2's step, with or without AMP, that all processes take, skip and end together.

    Between forward and backward pass they agree, by one small reduction on the device, on three things: whether a loss
    of any of them is no finite number, whether any was asked to stop, and whether any met a bad file. If a loss is bad,
    every gradient is made NaN. AMP's scaler then skips the step by itself, and what was agreed is read off the device
    after it, for which nothing waits; without AMP it is the norm of the gradient that is looked at, for which a GPU
    must be waited for. A step that AMP skips because the scaled gradient overflows is no fault.
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
        stop: StopRequest,
    ):
        scaler = torch.amp.GradScaler("cuda", enabled=amp)
        super().__init__(model, data_loader, optimizer, gather_metric_period, grad_scaler=scaler)
        self.amp = amp
        self.steps = steps
        self.files = files
        self.stop = stop
        self._norms: NormStatistics | None = None
        self._others_stop = False

    @property
    def stop_now(self) -> bool:
        """After a step: whether this was the last one, the same in all processes."""
        return self._others_stop if comm.get_world_size() > 1 else bool(self.stop.signal)

    def run_step(self) -> None:
        assert self.model.training, "the model was left in evaluation mode"
        start = time.perf_counter()
        batch = next(self._data_loader_iter)
        data_time = time.perf_counter() - start
        self._norms = self._norms or NormStatistics(self.model)
        self._norms.keep()
        with self._precision():
            losses = self.model(batch)
            total = sum(losses.values())
        agreed = self._agree(total, self.files.look(batch))
        self.optimizer.zero_grad()
        spoil = torch.where(agreed[0] > 0, torch.nan, 1.0)  # times 1 changes no bit
        self.grad_scaler.scale(total * spoil).backward()
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

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", dtype=self.precision) if self.amp else nullcontext()

    @torch.no_grad()
    def _agree(self, total: Tensor, new_files: bool) -> Tensor:
        """`[3]`: is a loss bad, is a stop wanted, are there new bad files, in any process (0 or 1)."""
        is_bad = (~torch.isfinite(total)).float()
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
        read = _reading(agreed)
        self.grad_scaler.step(self.optimizer)
        is_bad, stop, new_files = (bool(value) for value in read())
        # A bad loss says nothing about the scale, which is only put back as it was.
        self.grad_scaler.update(self.grad_scaler.get_scale() if is_bad else None)
        return is_bad, stop, new_files

    def _gradient_norm(self) -> Tensor:
        """Of all gradients together: no finite number where any of them is none."""
        grads = [p.grad for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        return torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(grad) for grad in grads]))

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "bad_steps": self.steps.total}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        SimpleTrainer.load_state_dict(self, state_dict)
        self.steps.total = state_dict.get("bad_steps", 0)  # checkpoints of earlier versions have none
        if self.amp and state_dict.get("grad_scaler"):  # empty in a checkpoint that was made without AMP
            self.grad_scaler.load_state_dict(state_dict["grad_scaler"])


def _reading(values: Tensor) -> Callable[[], list[float]]:
    """Starts copying from the device; the function that comes back waits for the copy and for nothing after it."""
    copy = values.to("cpu", non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()

    def read() -> list[float]:
        copied.synchronize()
        return copy.tolist()

    return read
