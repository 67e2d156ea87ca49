"""Pasting region predictions back into the full-image prediction. Pure torch.

Symbols: P^I the image level's log-probabilities `[K, H, W]`; a region prediction has K + 1 outputs, the classes and
*other*; `used` `[K]` says which classes the region level answers for, *other* stands for all the rest together. Logits
come with the outputs that are not in use masked, as `RegionLevel` gives them: what is said of those would be lost.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from nightlab.modeling.regions import linear_taps

RULES = ("posterior", "average", "replace")


class Pasted(NamedTuple):
    """P^R over the frame: probabilities `[K + 1, H, W]` (zero outside of all regions) and `covered`, bool `[H, W]`."""

    probability: Tensor
    covered: Tensor


def paste(logits: Tensor, boxes: Tensor, size: tuple[int, int], rows: range | None = None) -> Pasted:
    """Region logits `[R, K + 1, h, w]` of boxes `[R, 4]` (pixels of a map of `size`), as one map, or as its `rows`.

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
    return Pasted(total / weight.clamp(min=1e-12), weight > 0)


def resample(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """`[C, h, w]` read bilinearly at relative rows `y` `[H]` and columns `x` `[W]` (0 to 1 over its extent)."""
    top, bottom, weight_y = linear_taps(y * image.shape[-2], image.shape[-2])
    left, right, weight_x = linear_taps(x * image.shape[-1], image.shape[-1])
    # Columns first, on the few rows of the crop.
    image = torch.lerp(image[:, :, left], image[:, :, right], weight_x.to(image.dtype))
    return torch.lerp(image[:, top], image[:, bottom], weight_y[:, None].to(image.dtype))


def merge(image: Tensor, pasted: Pasted, used: Tensor, rule: str = "posterior") -> Tensor:
    """Log-probabilities `[K, H, W]` of both levels together; outside of the regions exactly those of the image level.

    "posterior" keeps both posteriors: P(c) = p_R(c) for the region level's classes, and what it gives to *other* is
    shared among the remaining ones as the image level shares it, P(c) = p_R(other) p_I(c | not used). "average" is the
    mean of that posterior and the image level's. "replace" is the paper's: the region level's answer replaces the image
    level's where it names a class (with all K classes in use: everywhere inside the boxes), and where it says *other*
    the image level stands.
    """
    return joined(image, pasted, used, rule) if bool(used.any()) else image


def joined(image: Tensor, pasted: Pasted, used: Tensor, rule: str) -> Tensor:
    """`merge` where at least one class is in use; nothing here depends on values, so that it can be exported."""
    probability, covered = pasted
    region = probability[None].clamp(min=torch.finfo(torch.float32).tiny).log()
    return torch.where(covered, fuse(image[None], region, used, rule)[0], image)


def fuse(image: Tensor, region: Tensor, used: Tensor, rule: str = "posterior") -> Tensor:
    """Aligned log-probabilities `[R, K, h, w]` and `[R, K + 1, h, w]` merged, `[R, K, h, w]`; `rule` as for `merge`."""
    if rule not in RULES:
        raise ValueError(f"merge {rule!r} is not one of {', '.join(RULES)}")
    others = image.masked_fill(used[:, None, None], -math.inf)
    # With all classes in use there is nothing to share: the term is then masked out below.
    shared = region[:, -1:] + others - others.logsumexp(dim=1, keepdim=True)
    merged = torch.where(used[:, None, None], region[:, :-1], shared)
    if rule == "average":
        return torch.logaddexp(image, merged) - math.log(2)
    if rule == "replace":
        return torch.where(region.argmax(dim=1, keepdim=True) < len(used), merged, image)
    return merged


def _centres(start: float, stop: float, length: int) -> range:
    """The pixels of an axis whose centres lie in [start, stop)."""
    return range(max(math.ceil(start - 0.5), 0), min(math.ceil(stop - 0.5), length))
