"""Optimiser and learning-rate schedule of the Swin-UPerNet recipe."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.solver import LRMultiplier, WarmupParamScheduler
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from fvcore.common.param_scheduler import PolynomialDecayParamScheduler
from torch import nn

from nightlab.errors import InputError

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"AdamW": torch.optim.AdamW, "SGD": torch.optim.SGD}
# Position biases and embeddings, by parameter name, are not decayed; norms are excluded by type.
_NO_DECAY = ("relative_position_bias_table", "absolute_pos_embed", "pos_embed")


def build_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
    """AdamW or SGD over groups: no decay on norms and position biases, the backbone and what belongs to the light
    adaptation at their own multiples of the rate, the latter with its own betas.

    Raises:
        InputError: as `check_optimizer`.
    """
    solver = cfg.SOLVER
    check_optimizer(solver, cfg.MODEL.NIGHTLAB.STAGE)
    params = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        lr_factor_func=partial(_multiple, cfg),
        overrides={name: {"weight_decay": 0.0} for name in _NO_DECAY},
    )
    params = _with_own_betas(cfg, model, params)
    kind: Any = OPTIMIZERS[solver.OPTIMIZER]
    kwargs: dict[str, Any] = (
        {"betas": tuple(solver.BETAS)}
        if kind is torch.optim.AdamW
        else {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV}
    )
    clipping = solver.CLIP_GRADIENTS
    if clipping.ENABLED and clipping.CLIP_TYPE == "full_model":
        judges = [p for name, p in model.named_parameters() if "discriminator" in name]
        kind = _clipping_all(kind, clipping.CLIP_VALUE, judges)
    elif clipping.ENABLED:
        kind = maybe_add_gradient_clipping(cfg, kind)
    return kind(params, lr=solver.BASE_LR, weight_decay=solver.WEIGHT_DECAY, **kwargs)


def _with_own_betas(cfg: CfgNode, model: nn.Module, groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The groups, parameters of the light adaptation apart with AdamW's betas of MODEL.LIGHT."""
    light = {parameter for name, parameter in model.named_parameters() if _is_light(name)}
    rest = [{**group, "params": [p for p in group["params"] if p not in light]} for group in groups]
    own = [{**group, "params": [p for p in group["params"] if p in light]} for group in groups]
    own = [{**group, "betas": tuple(cfg.MODEL.LIGHT.BETAS)} for group in own]
    return [group for group in (*rest, *own) if group["params"]]


def _is_light(name: str) -> bool:
    return not {"light", "light_losses"}.isdisjoint(name.split("."))


def _multiple(cfg: CfgNode, name: str) -> float:
    """Of the learning rate, for a parameter."""
    parts = name.split(".")
    if "backbone" in parts:
        return cfg.SOLVER.BACKBONE_MULTIPLIER
    if "offset" in parts:
        return cfg.SOLVER.OFFSET_MULTIPLIER
    return cfg.MODEL.LIGHT.LR_MULTIPLIER if _is_light(name) else 1.0


def check_optimizer(solver: CfgNode, stage: str) -> None:
    """Raises InputError where the optimiser of a stage is none of `OPTIMIZERS`."""
    if solver.OPTIMIZER not in OPTIMIZERS:
        raise InputError(
            f"SOLVER.OPTIMIZER: {solver.OPTIMIZER!r}, of stage {stage}, is not one of {', '.join(OPTIMIZERS)}"
        )


def _clipping_all(
    kind: type[torch.optim.Optimizer], max_norm: float, judges: Sequence[nn.Parameter]
) -> type[torch.optim.Optimizer]:
    """The optimiser, clipping the norm of all gradients together first (after AMP's scaler has unscaled them); that of
    the discriminators by itself, or the loss of one player would slow the other."""
    apart = set(judges)

    def step(self: torch.optim.Optimizer, closure: Any = None) -> Any:
        every = [p for group in self.param_groups for p in group["params"]]
        for player in ([p for p in every if p not in apart], [p for p in every if p in apart]):
            nn.utils.clip_grad_norm_(player, max_norm)
        return kind.step(self, closure)

    return type(f"{kind.__name__}WithFullModelClipping", (kind,), {"step": step})


def build_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> LRMultiplier:
    """Linear warm-up from WARMUP_FACTOR over WARMUP_ITERS, then (1 - t / T)^POLY_LR_POWER down to zero."""
    solver = cfg.SOLVER
    if solver.LR_SCHEDULER_NAME != "WarmupPolyLR":
        raise InputError(f"SOLVER.LR_SCHEDULER_NAME: {solver.LR_SCHEDULER_NAME!r} is not WarmupPolyLR")
    schedule = WarmupParamScheduler(
        PolynomialDecayParamScheduler(base_value=1.0, power=solver.POLY_LR_POWER),
        solver.WARMUP_FACTOR,
        min(solver.WARMUP_ITERS / solver.MAX_ITER, 1.0),
        solver.WARMUP_METHOD,
    )
    return LRMultiplier(optimizer, multiplier=schedule, max_iter=solver.MAX_ITER)
