"""A step whose loss is no number: nothing changes, it is counted and named, and several in a row end training."""

import subprocess
import sys
from contextlib import nullcontext
from itertools import cycle

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from nightlab.engine import step
from nightlab.engine.faults import BadFiles, BadSteps, DeadWorkers
from nightlab.engine.step import GuardedTrainer
from nightlab.errors import InputError
from nightlab.signals import StopRequest

NAN, INF = float("nan"), float("inf")


class Model(nn.Module):
    """BatchNorm, then a weight; the loss is spoiled in the way that the batch says."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch):
        x = torch.stack([given["image"] for given in batch])
        value = (self.norm(x) * self.weight).square().mean()
        spoiled = {"": value, "nan": value * NAN, "inf": value + INF, "gradient": value + (self.weight * 0).sqrt()}
        return {"loss_a": value, "loss_b": spoiled[batch[0]["spoil"]].squeeze()}


def batch(spoil="", **more):
    torch.manual_seed(3)
    image = torch.randn(1, 4, 4) if spoil != "nan" else torch.full((1, 4, 4), NAN)
    return [{"image": image, "spoil": spoil, "file_name": f"{spoil or 'good'}.png", **more}]


def trainer(*batches, limit=3):
    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    given = {"steps": BadSteps(limit), "files": BadFiles(1), "workers": DeadWorkers(1), "stop": StopRequest()}
    return GuardedTrainer(model, cycle(batches), optimizer, amp=False, gather_metric_period=1, **given)


def state(made):
    return {**made.model.state_dict(), **made.optimizer.state_dict()["state"].get(0, {})}


def copied(made):
    return {key: value.clone() for key, value in state(made).items()}


@pytest.mark.parametrize("spoil", ["nan", "inf", "gradient"])
def test_a_bad_step_changes_nothing_and_is_named(spoil, caplog):
    made = trainer(batch(), batch(spoil))
    with EventStorage() as storage, caplog.at_level("WARNING", "nightlab"):
        made.run_step()
        before = copied(made)
        made.run_step()
        assert state(made).keys() == before.keys() and "exp_avg" in before
        assert all(torch.equal(value, before[key]) for key, value in state(made).items())
        assert storage.latest()["bad_steps"] == (1, 0)
        made.run_step()
        assert not torch.equal(made.model.weight, before["weight"]), "training goes on"
    assert f"{spoil}.png" in caplog.text and ("the gradient" if spoil == "gradient" else "loss_b") in caplog.text


def test_images_that_stand_beside_the_others_are_named_too(caplog):
    """Those of a light adaptation, by day."""
    made = trainer(batch("nan", files_beside=["day.png"]))
    with EventStorage(), caplog.at_level("WARNING", "nightlab"):
        made.run_step()
    assert "images: nan.png, day.png" in caplog.text


def test_several_bad_steps_in_a_row_end_training():
    made = trainer(*[batch("nan")] * 2, batch(), *[batch("nan")] * 3)
    with EventStorage():
        for _ in range(5):
            made.run_step()
        with pytest.raises(InputError, match=r"3 steps in a row loss_a, loss_b.*nan\.png.*BASE_LR.*--resume"):
            made.run_step()
    assert made.state_dict()["bad_steps"] == 5
    again = trainer(batch())
    again.load_state_dict(made.state_dict())
    assert again.steps.total == 5


@pytest.mark.parametrize("spoil, bad, scale", [("nan", 1, 8.0), ("inf", 1, 8.0), ("gradient", 0, 4.0)])
def test_amps_scaler_skips_a_bad_loss_and_its_own_overflow_is_no_fault(spoil, bad, scale, monkeypatch):
    """On the CPU, in full precision: the scaler is torch's, the copy from the device is not."""
    monkeypatch.setattr(step, "_reading", lambda values: values.tolist)
    monkeypatch.setattr(GuardedTrainer, "_precision", lambda self: nullcontext())
    made = trainer(batch(), batch(spoil))
    made.amp, made.grad_scaler = True, torch.amp.GradScaler("cpu", init_scale=8.0)
    with EventStorage():
        made.run_step()
        before = copied(made)
        made.run_step()
        weights = [key for key in before if not key.startswith("norm.") or bad]
        assert all(torch.equal(state(made)[key], before[key]) for key in weights)
        assert (made.steps.total, made.grad_scaler.get_scale()) == (bad, scale)
        made.run_step()
    assert not torch.equal(made.model.weight, before["weight"])


def test_with_amp_a_gradient_that_is_no_number_ends_training_before_the_scale_is_gone(monkeypatch):
    made = trainer(batch("gradient"), limit=3)
    monkeypatch.setattr(step, "_reading", lambda values: values.tolist)
    monkeypatch.setattr(made, "_precision", nullcontext)
    made.amp, made.grad_scaler = True, torch.amp.GradScaler("cpu", init_scale=4.0)
    with EventStorage():
        made.run_step()  # at 4 it may be the scale
        made.run_step()
        assert (made.steps.total, made.grad_scaler.get_scale()) == (0, 1.0)
        with pytest.raises(InputError, match="3 steps in a row the gradient"):
            for _ in range(3):
                made.run_step()
    assert made.grad_scaler.get_scale() == 1 and bool(made.model.weight.isfinite())


def test_the_step_is_detectron2s_otherwise():
    from detectron2.engine import SimpleTrainer

    made = trainer(batch())
    model = Model()
    plain = SimpleTrainer(model, cycle([batch()]), torch.optim.AdamW(model.parameters(), lr=0.1))
    with EventStorage():
        for _ in range(3):
            made.run_step()
            plain.run_step()
    assert all(torch.equal(value, made.model.state_dict()[key]) for key, value in model.state_dict().items())


def test_bad_files_are_counted_once_and_end_training_when_too_many(caplog):
    made = trainer(batch(bad_files=["a.png: gone"]), batch(), batch(bad_files=["a.png: gone"]), batch(bad_files=["b"]))
    with EventStorage() as storage, caplog.at_level("WARNING", "nightlab"):
        for _ in range(3):
            made.run_step()
        assert storage.latest()["bad_files"][0] == 1 and caplog.text.count("a.png: gone") == 1
        with pytest.raises(
            InputError, match=r"MAX_BAD_FILES: 2 files turned bad in training, more than 1; the last: b"
        ):
            made.run_step()
    again = trainer(batch(bad_files=["b"]), batch(bad_files=["c"]))
    again.load_state_dict(made.state_dict() | {"bad_files": ["b"], "dead_workers": 2})
    assert again.workers.total == 2
    with EventStorage(), pytest.raises(InputError, match="2 files turned bad in training, more than 1; the last: c"):
        for _ in range(2):
            again.run_step()


TWO = """
import json, sys
from itertools import cycle
import torch
from detectron2.engine import create_ddp_model
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from nightlab.engine.faults import BadFiles, BadSteps, DeadWorkers
from nightlab.engine.step import GuardedTrainer
from nightlab.signals import StopRequest

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Parameter(torch.ones(1)), torch.nn.Parameter(torch.ones(1))

    def forward(self, batch):
        return {"loss_a": self.first.sum() * batch[0]["x"], "loss_b": self.second.sum()}

class Mean(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, batch):
        return {"loss": (self.weight * sum(x["x"] for x in batch) / len(batch)).sum()}

def in_batches(rank, counts):
    "Four batches of one image a step; the weight, and how often gradients were sent."
    sent = []

    def hook(group, bucket):
        sent.append(1)
        return allreduce_hook(group, bucket)

    model = create_ddp_model(Mean(), broadcast_buffers=False, device_ids=None)
    model.register_comm_hook(None, hook)
    batches = cycle([[{"x": float(4 * rank + i), "file_name": "x"} for i in range(4)]])
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer = GuardedTrainer(model, batches, optimizer, amp=False, gather_metric_period=1, accumulate=4, **counts)
    with EventStorage():
        for _ in range(2):
            trainer.run_step()
    return [float(model.module.weight.detach()), len(sent)]

def train(rank):
    torch.distributed.init_process_group("gloo", f"file://{sys.argv[1]}/meet", rank=rank, world_size=2)
    comm.create_local_process_group(2)
    stop = StopRequest()
    model = create_ddp_model(Model(), broadcast_buffers=False, device_ids=None)
    steps = [{"x": 1.0}, {"x": float("nan") if rank else 1.0}, {"x": 1.0, "bad_files": ["gone"] * rank}]
    batches = cycle([[{**step, "file_name": f"{rank}.png"}] for step in steps])
    counts = {"steps": BadSteps(9), "files": BadFiles(9), "workers": DeadWorkers(0), "stop": stop}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    trainer = GuardedTrainer(model, batches, optimizer, amp=False, gather_metric_period=1, **counts)
    with EventStorage():
        for turn in range(4):
            stop.signal = "SIGTERM" if rank and turn == 3 else ""
            trainer.run_step()
    values = [float(p.detach()) for p in model.parameters()]
    said = [*values, trainer.steps.total, trainer.files.known, trainer.stop_now]
    stop.signal = ""
    said += in_batches(rank, counts)
    json.dump(said, open(f"{sys.argv[1]}/{rank}.json", "w"))

torch.multiprocessing.start_processes(train, nprocs=2, start_method="fork")
"""


def test_two_processes_skip_and_stop_together(tmp_path):
    """One of them has the NaN, the bad file and the signal; three of four steps are taken by both. Then two steps of
    four batches, down a slope of 3.5 (the mean of 0 to 7), send gradients twice."""
    script = tmp_path / "two.py"
    script.write_text(TWO)
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [(tmp_path / f"{rank}.json").read_text() for rank in (0, 1)]
    assert said[0] == said[1] == '[0.25, 0.25, 1, ["gone"], true, -6.0, 2]'
