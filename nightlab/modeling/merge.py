"""Pasting region predictions back into the full-image prediction. Pure torch.

Symbols: P^I the image level's log-probabilities `[K, H, W]`; `used` says of each of the K classes whether the region
level answers for it, that is for the hard ones or for all. Of its K + 1 outputs, the classes and *other*, which stands
for all the rest together, only the U + 1 `in_use` are pasted and merged: a map of the frame's size for each of the
others would cost more than they say.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor

from nightlab.modeling.regions import linear_weights

RULES = ("posterior", "average", "replace", "pooled")
# Below this, logarithms of probabilities are one to a pool: whether 1e-6 or 1e-30, somebody is sure it is not so.
LEAST = -14.0
# What stands for a probability of none at all, so that its logarithm, and that of its half, are numbers.
NONE = 2 * torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class MergeRule:
    """How both levels are merged.

    Attributes:
        used: which of the K classes the region level answers for.
        name: one of `RULES`, see `merge`.
        hard: which classes are hard, where all are in use; None: those that are.
        pool: weights `[2, K]` of both levels, for "pooled"; without them that is "posterior".
    """

    used: Sequence[bool]
    name: str = "posterior"
    hard: Sequence[bool] | None = None
    pool: Tensor | None = None

    def __post_init__(self) -> None:
        if self.name not in RULES:
            raise ValueError(f"merge {self.name!r} is not one of {', '.join(RULES)}")

    @property
    def alone(self) -> Sequence[bool]:
        """The classes of which the region level's word counts, and not the image level's."""
        return self.hard if self.hard is not None and all(self.used) and self.name != "replace" else self.used


class Pasted(NamedTuple):
    """P^R over the frame: probabilities `[U + 1, H, W]` (zero outside of all regions) and `covered`, bool `[H, W]`."""

    probability: Tensor
    covered: Tensor


def in_use(outputs: Tensor, used: Sequence[bool]) -> Tensor:
    """Of region outputs `[R, K + 1, ...]` those of the classes in use, in order, and *other*, `[R, U + 1, ...]`."""
    return outputs[:, [*(k for k, is_used in enumerate(used) if is_used), len(used)]]


def paste(logits: Tensor, boxes: Tensor, size: tuple[int, int], rows: range | None = None) -> Pasted:
    """Region logits `[R, U + 1, h, w]` of boxes `[R, 4]` (pixels of a map of `size`), as one map, or as its `rows`.

    Where regions overlap, the pixel takes the average of their posteriors, weighted by its distance to each region's
    border (a pyramid): a crop knows least about its rim. The order of the boxes makes no difference. One map is kept,
    however many regions there are.
    """
    height, width = size
    strip = range(height) if rows is None else rows
    total = logits.new_zeros(logits.shape[1], len(strip), width, dtype=torch.float32)
    weight = total.new_zeros(len(strip), width)
    windows = boxes.double().tolist()

    def rank(i: int) -> tuple[list[float], bytes]:
        equal = windows.count(windows[i]) > 1  # then only the logits tell boxes apart
        return windows[i], logits[i].detach().float().cpu().numpy().tobytes() if equal else b""

    # A fixed order makes the sums, and so their rounding, independent of the order given.
    for i in sorted(range(len(windows)), key=rank):
        x0, y0, x1, y1 = windows[i]
        inside, columns = _centres(y0, y1, height), _centres(x0, x1, width)
        inside = range(max(inside.start, strip.start), min(inside.stop, strip.stop))
        if len(inside) == 0 or len(columns) == 0:
            continue
        y = (torch.arange(inside.start, inside.stop, device=logits.device) + 0.5 - y0) / (y1 - y0)
        x = (torch.arange(columns.start, columns.stop, device=logits.device) + 0.5 - x0) / (x1 - x0)
        posterior = resample(logits[i].float(), y, x).softmax(dim=0)
        pyramid = (y.minimum(1 - y)[:, None] * x.minimum(1 - x)[None, :]).clamp(min=1e-6)
        place = ..., slice(inside.start - strip.start, inside.stop - strip.start), slice(columns.start, columns.stop)
        total[place] += pyramid * posterior
        weight[place] += pyramid
    return Pasted(total.div_(weight.clamp(min=1e-12)), weight > 0)


def resample(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Maps `[..., h, w]` read bilinearly at rows `y` `[..., H]` and columns `x` `[..., W]`, from 0 to 1 over their
    extent."""
    return linear_weights(y, image.shape[-2]) @ (image @ linear_weights(x, image.shape[-1]).mT)


def merge(image: Tensor, pasted: Pasted, rule: MergeRule) -> Tensor:
    """Log-probabilities `[K, H, W]` of both levels together; outside of the regions exactly those of the image level.

    "posterior" keeps both posteriors. Of hard classes the region level's word counts, P(c) = p_R(c). What it gives to
    the easy ones together is shared among them as the image level shares it, P(c) = p_R(easy) p_I(c | easy), p_R(easy)
    being its *other*; or, where it answers for all classes, as both levels do in the mean, P(c) = p_R(easy) (p_I(c |
    easy) + p_R(c | easy)) / 2. "average" is the mean of that posterior and the image level's. "replace" is the paper's:
    the region level's answer replaces the image level's where it names a class (with all K classes in use: everywhere
    inside the boxes), and where it says *other* the image level stands. "pooled" weighs the first and the image level,
    see `pooled`.
    """
    return fuse(image[None], pasted.probability[None], rule, where=pasted.covered[None])[0]


def logarithms(probability: Tensor) -> Tensor:
    """Finite log-probabilities, of none at all as well."""
    return probability.clamp(min=NONE).log()


def fuse(image: Tensor, region: Tensor, rule: MergeRule, *, where: Tensor | None = None) -> Tensor:
    """Aligned log-probabilities `[R, K, h, w]` of P^I and probabilities `[R, U + 1, h, w]` of P^R merged to
    log-probabilities `[R, K, h, w]`, as by `merge`.

    Outside of `where`, bool `[R, h, w]`, the image level stands. Nothing here depends on values, so that it can be
    exported.
    """
    if not any(rule.used):
        return image
    changed = None if where is None else where[:, None]
    if rule.name == "replace":
        names_class = region.argmax(dim=1, keepdim=True) < region.shape[1] - 1
        changed = names_class if changed is None else names_class & changed
    share_out = _shared_by_both if all(rule.used) else _shared_by_image_level
    merged = share_out(image, region, rule.alone)
    if rule.name == "average":
        merged = torch.logaddexp(image, merged) - math.log(2)
    elif rule.name == "pooled" and rule.pool is not None:
        merged = pooled(image, merged, rule.pool)
    return merged if changed is None else torch.where(changed, merged, image)


def _shared_by_image_level(image: Tensor, region: Tensor, used: Sequence[bool]) -> Tensor:
    """The classes in use as the region level has them; what it gives to *other*, as the image level shares it out."""
    easy = [k for k, is_used in enumerate(used) if not is_used]
    answers = logarithms(region)
    share = answers[:, -1:] - image[:, easy].logsumexp(dim=1, keepdim=True)
    parts = [answers[:, mine] if is_used else image[:, classes] + share for is_used, classes, mine, _ in _runs(used)]
    return torch.cat(parts, dim=1)


def _shared_by_both(image: Tensor, region: Tensor, alone: Sequence[bool]) -> Tensor:
    """All classes as the region level has them, but those that are not its word `alone` in the mean with how the image
    level shares out what it gives to these together."""
    easy = [k for k, is_alone in enumerate(alone) if not is_alone]
    if not easy:
        return logarithms(region[:, :-1])
    region = region.clamp(min=NONE)
    total, of_image = region[:, easy].sum(dim=1, keepdim=True), image[:, easy].softmax(dim=1)
    parts = [
        region[:, classes] if is_alone else torch.addcmul(region[:, classes], of_image[:, rest], total) / 2
        for is_alone, classes, _, rest in _runs(alone)
    ]
    return torch.cat(parts, dim=1).log_()


def pooled(image: Tensor, merged: Tensor, pool: Tensor) -> Tensor:
    """The logarithmic opinion pool of log-probabilities `[R, K, ...]` of P^I and P^M, the posterior of both levels, by
    the weights `pool` `[2, K]`: log P(c) = a_c log P^M(c) + b_c log P^I(c), but for a constant.

    The image level knows the scene, the region level the details (Heskes, Selecting Weighting Factors in Logarithmic
    Opinion Pools, NIPS 1997). A bias for each class beside the weights would say how frequent it is in the images that
    these are fitted on, which gains where the test images are of their kind, and loses on other drives.
    """
    of_merged, of_image = pool.to(image.dtype).view(2, -1, *(1,) * (image.dim() - 2))
    return (of_merged * merged.clamp(min=LEAST) + of_image * image.clamp(min=LEAST)).log_softmax(dim=1)


def _runs(used: Sequence[bool]) -> Iterator[tuple[bool, slice, slice, slice]]:
    """Neighbouring classes that are all in use or all not: whether they are, and their places among the K classes,
    among those in use and among the others (the one that they are none of: empty)."""
    first = answered = 0
    for is_used, run in groupby(used):
        last = first + len(list(run))
        others = first - answered
        mine = last - others if is_used else answered
        yield is_used, slice(first, last), slice(answered, mine), slice(others, last - mine)
        first, answered = last, mine


def _centres(start: float, stop: float, length: int) -> range:
    """The pixels of an axis whose centres lie in [start, stop)."""
    return range(max(math.ceil(start - 0.5), 0), min(math.ceil(stop - 0.5), length))
