"""Makes probabilities mean what they say: a temperature for posteriors, Platt's line for scores; a bias for each class
of the image level, and the weights by which both levels are pooled. Pure torch.

Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks" (ICML 2017); Platt, "Probabilistic Outputs for
Support Vector Machines" (1999). Both are fitted on images that nothing else was fitted to; neither changes a ranking.
The bias and the pool do, where MODEL.NIGHTLAB.CLASS_BIAS and MERGE ask for them.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nightlab.modeling.merge import pooled

# The buffers of a model that hold its calibration, and what they hold without any: of those by class, each class. The
# pool is there twice, for levels without their temperatures and with them.
UNCALIBRATED: dict[str, float | tuple[float, ...]] = {
    "image_temperature": 1.0,
    "region_temperature": 1.0,
    "detector.platt": (1.0, 0.0),
    "class_bias": 0.0,
    "merge_pool": (1.0, 0.0),
}
# Of the part of a model, the buffers that a new training of it makes void.
BUFFERS_OF = {
    "image_level": ("image_temperature", "class_bias", "merge_pool"),
    "region_level": ("region_temperature", "merge_pool"),
    "detector": ("detector.platt",),
}
# Where everything that is fitted is right, the best temperature is 0: these are the ends.
TEMPERATURES = (0.05, 20.0)
# How much a squared step of one of their numbers away from what changes nothing costs the bias and the pool, in nats a
# pixel: little where a class has many pixels, so that one which the held-out images hardly have stays where it is.
RIDGE = 1e-3
# Scores that tell the wrong way round would ask for a slope below zero, which turned the ranking round.
LEAST_SLOPE = 0.05


def reset(model: nn.Module, *names: str) -> None:
    """Take back what the named buffers (keys of `UNCALIBRATED`) hold of a calibration, all where none is named."""
    buffers = dict(model.named_buffers())
    for name in names or UNCALIBRATED:
        if name in buffers:
            buffers[name].copy_(uncalibrated(name, buffers[name]))


def uncalibrated(name: str, buffer: Tensor) -> Tensor:
    """What a buffer (a key of `UNCALIBRATED`) holds without a calibration, in its shape and place."""
    value = buffer.new_tensor(UNCALIBRATED[name])
    return (value if value.dim() == buffer.dim() else value[..., None]).expand_as(buffer)


def is_uncalibrated(name: str, buffer: Tensor) -> bool:
    """Whether a buffer (a key of `UNCALIBRATED`), or a part of it, is as without a calibration."""
    return torch.equal(buffer, uncalibrated(name, buffer))


def negative_log_likelihood(log_probabilities: Tensor, target: Tensor, temperature: float = 1.0) -> float:
    """Mean NLL in nats of classes `[N]` under log-probabilities `[N, K]`, divided by a temperature; NaN of none."""
    return float(F.nll_loss((log_probabilities.double() / temperature).log_softmax(dim=1), target))


def fit_temperature(log_probabilities: Tensor, target: Tensor) -> float:
    """The temperature, within `TEMPERATURES`, by which log-probabilities `[N, K]` give classes `[N]` the least NLL.

    1 where there is nothing to fit.
    """
    if len(target) == 0:
        return 1.0
    values = log_probabilities.double()

    def loss(logarithm: Tensor) -> Tensor:
        return F.cross_entropy(values / logarithm.exp(), target)

    fitted = float(_minimum(torch.zeros(1), loss).exp())
    return min(max(fitted, TEMPERATURES[0]), TEMPERATURES[1])


def fit_class_bias(log_probabilities: Tensor, target: Tensor) -> Tensor:
    """The bias `[K]` of each class that gives classes `[N]`, under log-probabilities `[N, K]`, the least NLL; it undoes
    what weighted losses and the choice of crops make of the frequency of classes."""
    values = log_probabilities.double()

    def loss(bias: Tensor) -> Tensor:
        return F.cross_entropy(values + bias, target) + RIDGE * bias.square().sum()

    return _minimum(torch.zeros(values.shape[1]), loss).float()


def fit_pool(image: Tensor, merged: Tensor, target: Tensor) -> Tensor:
    """The weights `[2, K]` of `merge.pooled` that give classes `[N]` the least NLL, from log-probabilities `[N, K]`."""
    image, merged = image.double(), merged.double()
    neutral = uncalibrated("merge_pool", image.new_empty(2, image.shape[1]))

    def loss(pool: Tensor) -> Tensor:
        fit = F.nll_loss(pooled(image, merged, pool), target)
        return fit + RIDGE * (pool - neutral).square().sum()

    return _minimum(neutral.clone(), loss).float()


def fit_platt(scores: Tensor, positive: Tensor) -> tuple[float, float]:
    """Slope (at least `LEAST_SLOPE`) and offset of the line on the scores' log-odds that gives probabilities.

    The targets are Platt's, a little inside of 0 and 1, so that scores which tell perfectly give a line too. (1, 0),
    which changes nothing, without one of either kind.

    Args:
        scores: `[N]` in 0...1.
        positive: bool `[N]`, what came true.
    """
    number, total = int(positive.sum()), len(positive)
    if number in (0, total):
        return 1.0, 0.0
    odds = log_odds(scores)
    target = torch.where(positive, (number + 1) / (number + 2), 1 / (total - number + 2)).double()

    def loss(line: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(line[0] * odds + line[1], target)

    slope, offset = _minimum(torch.tensor([1.0, 0.0]), loss).tolist()
    if slope < LEAST_SLOPE:
        slope = LEAST_SLOPE
        offset = float(_minimum(torch.zeros(1), lambda x: loss(torch.cat([x.new_tensor([slope]), x]))))
    return slope, offset


def log_odds(scores: Tensor) -> Tensor:
    """Of probabilities, as doubles; those of 0 and 1 are finite."""
    return torch.logit(scores.double(), eps=1e-6)


def _minimum(start: Tensor, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """Where a smooth function of a few numbers has its minimum, by L-BFGS."""
    point = start.double().requires_grad_()
    optimizer = torch.optim.LBFGS([point], max_iter=100, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(point)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return point.detach()
