"""BatchNorm over processes: nothing is lost in replacing it, and two processes train as one does."""

import json
import os
import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from nightlab.engine.sync_norm import SyncedNormAct, synced

from .test_run import config  # noqa: F401 (config is a fixture)


@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "resnet18"])
def test_a_replaced_model_is_the_same_in_one_process(name):
    model = timm.create_model(name, features_only=True, out_indices=(1,)).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.running_mean)
    x = torch.randn(2, 3, 32, 32)
    before, keys = model(x)[0], list(model.state_dict())
    synced(model)
    assert list(model.state_dict()) == keys, "checkpoints fit"
    kinds = [type(module) for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert kinds and set(kinds) == {SyncedNormAct}
    torch.testing.assert_close(model(x)[0], before)


def test_frozen_parts_stay_frozen():
    norm = nn.BatchNorm2d(3).eval().requires_grad_(False)
    (replacement,) = synced(nn.Sequential(norm)).children()
    assert not replacement.training and not any(p.requires_grad for p in replacement.parameters())


def test_two_processes_train_as_one(config, tmp_path, repository, tiny_root):  # noqa: F811
    """Half of the batch each, over gloo: the same losses and running statistics, to rounding, and as many images."""
    losses, figures, statistics = [], [], []
    for number in (1, 2):
        out = tmp_path / f"{number}"
        opts = ["OUTPUT_DIR", str(out), "MODEL.SEM_SEG_HEAD.DROPOUT", "0.0", "MODEL.TIMM.DROP_PATH_RATE", "0.0"]
        opts += ["SOLVER.MAX_ITER", "2", "DATASETS.CARDS", f"['{tiny_root.parent / 'tiny.yaml'}']"]
        command = [sys.executable, str(repository / "projects" / "NightLab" / "train_net.py")]
        command += ["--num-gpus", str(number), "--config-file", str(config), "--dist-url", "auto", *opts]
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
        losses.append([line["total_loss"] for line in lines if "total_loss" in line])
        document = json.loads((out / "evaluation" / "tiny_test" / "last.json").read_text())
        figures.append(document["images"])
        weights = torch.load(out / "model_final.pth", weights_only=True)["model"]
        statistics.append({name: value for name, value in weights.items() if "running" in name})
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert losses[0][1] == pytest.approx(losses[1][1], rel=1e-3)
    assert figures == [2, 2]
    torch.testing.assert_close(statistics[1], statistics[0], rtol=1e-3, atol=1e-4)
