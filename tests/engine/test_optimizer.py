"""Tests of the optimiser's groups, clipping and schedule against the Swin-UPerNet recipe."""

import pytest
import torch

from nightlab.engine.optimizer import build_lr_scheduler, build_optimizer
from nightlab.errors import InputError
from nightlab.modeling import NightLab


@pytest.fixture
def model(nano_cfg):
    return NightLab(nano_cfg)


def groups(optimizer, model):
    """Parameter name to its group's settings."""
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}


def test_norms_and_position_biases_are_not_decayed(nano_cfg, model):
    found = groups(build_optimizer(nano_cfg, model), model)
    assert set(found) == {name for name, p in model.named_parameters() if p.requires_grad}
    for name, group in found.items():
        free = "norm" in name or "relative_position_bias_table" in name or ".1." in name.split("decode_head")[-1]
        if "relative_position_bias_table" in name or "norm" in name:
            assert group["weight_decay"] == 0, name
        elif name.endswith("weight") and not free:
            assert group["weight_decay"] == nano_cfg.SOLVER.WEIGHT_DECAY, name


def test_the_backbone_has_its_own_rate(nano_cfg, model):
    nano_cfg.SOLVER.BACKBONE_MULTIPLIER = 0.25
    for name, group in groups(build_optimizer(nano_cfg, model), model).items():
        factor = 0.25 if ".backbone." in name else 1.0
        assert group["lr"] == pytest.approx(nano_cfg.SOLVER.BASE_LR * factor), name


def test_offsets_of_deformable_convolutions_have_their_own_rate(nano_cfg):
    nano_cfg.MODEL.SEM_SEG_HEAD.DEFORM_HEAD, nano_cfg.SOLVER.OFFSET_MULTIPLIER = True, 0.25
    model = NightLab(nano_cfg)
    found = groups(build_optimizer(nano_cfg, model), model)
    offsets = [name for name in found if ".offset." in name]
    assert offsets
    for name, group in found.items():
        factor = 0.25 if name in offsets else 1.0
        assert group["lr"] == pytest.approx(nano_cfg.SOLVER.BASE_LR * factor), name


def test_the_players_of_the_light_adaptation_have_their_own_rate_and_betas(nano_cfg):
    nano_cfg.MODEL.LIGHT.NAME, nano_cfg.MODEL.LIGHT.TRAIN, nano_cfg.MODEL.LIGHT.LR_MULTIPLIER = "relam", "joint", 0.5
    model = NightLab(nano_cfg)
    found = groups(build_optimizer(nano_cfg, model), model)
    players = [name for name in found if ".light." in name or ".light_losses." in name]
    assert any("discriminator" in name for name in players) and any("generator" in name for name in players)
    for name, group in found.items():
        factor, betas = (0.5, (0.5, 0.999)) if name in players else (1.0, (0.9, 0.999))
        assert group["lr"] == pytest.approx(nano_cfg.SOLVER.BASE_LR * factor) and group["betas"] == betas, name


def test_clipping_bounds_the_norm_of_all_gradients(nano_cfg, model):
    nano_cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    nano_cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 0.5
    optimizer = build_optimizer(nano_cfg, model)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_clipping_does_not_let_one_player_slow_the_other(nano_cfg):
    nano_cfg.SOLVER.CLIP_GRADIENTS.ENABLED, nano_cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = True, 0.5
    nano_cfg.MODEL.LIGHT.NAME, nano_cfg.MODEL.LIGHT.TRAIN = "relam", "joint"
    model = NightLab(nano_cfg)
    optimizer = build_optimizer(nano_cfg, model)
    players: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        judge = "discriminator" in name
        parameter.grad = torch.full_like(parameter, 1e3 if judge else 1e-6)
        players[judge].append(parameter)
    optimizer.step()
    assert torch.stack([p.grad.norm() for p in players[True]]).norm() == pytest.approx(0.5, rel=1e-4)
    assert all((p.grad == 1e-6).all() for p in players[False])


def test_an_unknown_optimizer_is_refused(nano_cfg, model):
    nano_cfg.SOLVER.OPTIMIZER = "Adam"
    with pytest.raises(InputError, match=r"SOLVER\.OPTIMIZER"):
        build_optimizer(nano_cfg, model)


def test_warm_up_is_linear_and_decay_polynomial(nano_cfg):
    solver = nano_cfg.SOLVER
    solver.MAX_ITER, solver.WARMUP_ITERS, solver.WARMUP_FACTOR, solver.BASE_LR = 100, 10, 1e-6, 1.0
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = build_lr_scheduler(nano_cfg, optimizer)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(1e-6)
    assert rates[5] == pytest.approx(0.45, abs=1e-3)  # half of the way to 0.9, the decayed rate at iteration 10
    assert rates[10] == pytest.approx(0.9) and rates[55] == pytest.approx(0.45) and rates[99] == pytest.approx(0.01)
