"""Activation checkpointing changes memory and nothing else: gradients, running statistics, draws of dropout."""

from itertools import cycle

import pytest
import timm
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from torch import nn
from torch.utils import checkpoint

from nightlab.benchmark.calls import random_inputs
from nightlab.engine.faults import BadFiles, BadSteps, DeadWorkers
from nightlab.engine.step import GuardedTrainer
from nightlab.errors import InputError
from nightlab.modeling.backbone import TimmBackbone
from nightlab.modeling.checkpointing import checkpointable
from nightlab.signals import StopRequest

from .contracts import NANO_SWIN, tiny_config


def after_a_step(checkpointing):
    """Gradients and buffers after a step of the trainer, with dropout and BatchNorm; how often something was kept."""
    keys = ("MODEL.TIMM.CHECKPOINT_ACTIVATIONS", "MODEL.SEM_SEG_HEAD.CHECKPOINT_ACTIVATIONS")
    cfg = tiny_config(*(x for key in keys for x in (key, checkpointing)))
    torch.manual_seed(0)
    model = build_model(cfg)
    images = [{**x, "file_name": "x"} for x in random_inputs(cfg, (32, 64), 2)]
    counts = {"steps": BadSteps(1), "files": BadFiles(1), "workers": DeadWorkers(0), "stop": StopRequest()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    made = GuardedTrainer(
        model, cycle([images]), optimizer, amp=False, gather_metric_period=1, **counts, recomputes=checkpointing
    )
    torch.manual_seed(1)
    with EventStorage():
        made.run_step()
    return {n: p.grad for n, p in model.named_parameters()} | {f"{n} (buffer)": b for n, b in model.named_buffers()}


def test_a_step_is_the_same_with_and_without(monkeypatch):
    calls = []
    original = checkpoint.checkpoint

    def counting(function, *args, **kwargs):
        calls.append(function)
        return original(function, *args, **kwargs)

    monkeypatch.setattr(checkpoint, "checkpoint", counting)
    plain = after_a_step(False)
    assert not calls
    checkpointed = after_a_step(True)
    assert calls
    assert plain.keys() == checkpointed.keys() and any("running_mean" in name for name in plain)
    assert all(torch.equal(value, checkpointed[name]) for name, value in plain.items())


def test_swin_is_checkpointed_block_by_block_in_training_only():
    backbone = TimmBackbone(**NANO_SWIN, checkpoint_activations=True)
    stages = [m for m in backbone.modules() if type(m).__name__ == "SwinTransformerStage"]
    assert [stage.grad_checkpointing for stage in stages] == [True] * 4
    assert not backbone.body.grad_checkpointing, "or whole stages would be computed three times"
    backbone.eval()
    assert [stage.grad_checkpointing for stage in stages] == [False] * 4


def test_models_without_stages_that_can_do_it_themselves():
    for name in ("resnet10t", "tf_efficientnet_lite0"):
        body = timm.create_model(name, features_only=True)
        assert checkpointable(body, name) == [body]
    with pytest.raises(InputError, match=r"CHECKPOINT_ACTIVATIONS: timm's 'plain' has no"):
        checkpointable(nn.Sequential(nn.Conv2d(3, 3, 1)), "plain")
