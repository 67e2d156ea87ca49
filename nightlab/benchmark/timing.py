"""Seconds and memory of repeated calls, on a CPU or a GPU, with the parts inside them."""

import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

REST = "rest"


class Mark:
    """A point in time on the device: an event of a GPU's stream, which waits for nothing, or the clock."""

    def __init__(self, device: torch.device):
        self._event = torch.cuda.Event(enable_timing=True) if device.type == "cuda" else None
        if self._event:
            self._event.record()
        self._clock = time.perf_counter()

    def seconds_until(self, later: "Mark") -> float:
        """Once both marks have been reached: the seconds between them."""
        if self._event and later._event:
            return self._event.elapsed_time(later._event) / 1000
        return later._clock - self._clock


class Stopwatch:
    """Times one call and the named parts inside it. A part inside another counts towards the outer one, as what a
    backward pass computes a second time."""

    def __init__(self, device: torch.device):
        self._device = device
        self._laps: list[tuple[str, Mark, Mark]] = []
        self._open = 0

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Counts what runs inside towards the part `name`."""
        self._open += 1
        start = Mark(self._device)
        yield
        self._open -= 1
        if not self._open:
            self._laps.append((name, start, Mark(self._device)))

    @contextmanager
    def forwards_of(self, modules: Mapping[str, nn.Module]) -> Iterator[None]:
        """Inside, every forward of one of `modules` is a lap of its name."""
        with ExitStack() as stack:
            for name, module in modules.items():
                running = ExitStack()
                before = module.register_forward_pre_hook(lambda *_, r=running, n=name: r.enter_context(self.lap(n)))
                stack.callback(before.remove)
                after = module.register_forward_hook(lambda *_, r=running: r.close())
                stack.callback(after.remove)
            yield

    @contextmanager
    def calls_of(self, owner: object, methods: Mapping[str, str]) -> Iterator[None]:
        """Inside, every call of one of `owner`'s methods (by name of the part) is a lap."""

        def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **kwargs: Any) -> Any:
                with self.lap(name):
                    return method(*args, **kwargs)

            return call

        for name, method in methods.items():
            owner.__dict__[method] = timed(name, getattr(owner, method))
        try:
            yield
        finally:
            for method in methods.values():
                del owner.__dict__[method]

    def seconds(self, total: float) -> dict[str, float]:
        """Seconds of every part; what is left of `total` is the rest."""
        parts: dict[str, float] = {}
        for name, start, end in self._laps:
            parts[name] = parts.get(name, 0.0) + start.seconds_until(end)
        return {**parts, REST: total - sum(parts.values())}


@dataclass(frozen=True)
class Timing:
    """Seconds that repeated calls of one callable took, and those of the parts inside them."""

    totals: tuple[float, ...]
    parts: dict[str, tuple[float, ...]]

    @classmethod
    def of(
        cls,
        call: Callable[[Stopwatch], object],
        device: torch.device,
        *,
        modules: Mapping[str, nn.Module] | None = None,
        repeats: int = 5,
        warmup: int = 1,
    ) -> "Timing":
        """
        Args:
            call: what is timed; it may mark laps on the stopwatch that it gets.
            modules: their forwards are timed as parts.
            repeats: timed calls.
            warmup: calls before those, which are not timed: the first one allocates and chooses kernels.
        """
        runs = [cls._once(call, device, modules or {}) for _ in range(warmup + repeats)][warmup:]
        names = dict.fromkeys(name for _, parts in runs for name in parts)
        return cls(
            tuple(total for total, _ in runs),
            {name: tuple(parts.get(name, 0.0) for _, parts in runs) for name in names},
        )

    @staticmethod
    def _once(
        call: Callable[[Stopwatch], object], device: torch.device, modules: Mapping[str, nn.Module]
    ) -> tuple[float, dict[str, float]]:
        watch = Stopwatch(device)
        with watch.forwards_of(modules):
            synchronize(device)
            start = Mark(device)
            call(watch)
            end = Mark(device)
            synchronize(device)
        total = start.seconds_until(end)
        return total, watch.seconds(total)

    @property
    def median(self) -> float:
        return statistics.median(self.totals)

    def to_json(self) -> dict[str, Any]:
        """Median, least and most of the totals and of every part, in seconds."""
        figures: dict[str, Callable[[Sequence[float]], float]] = {
            "median_s": statistics.median,
            "min_s": min,
            "max_s": max,
        }
        return {
            **{key: figure(self.totals) for key, figure in figures.items()},
            "repeats": len(self.totals),
            **{
                f"parts_{key}": {name: figure(values) for name, values in self.parts.items()}
                for key, figure in figures.items()
            },
        }


def synchronize(device: torch.device) -> None:
    """Waits until a GPU has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Starts a GPU's peak anew; a process' peak on the CPU only ever rises."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory_mib(device: torch.device) -> float:
    """The most memory, in MiB, that tensors took on a GPU, or that this process took since it began on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux KiB
