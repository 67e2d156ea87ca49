"""Steps of several batches: the gradient of all images together, and nothing kept of a bad one. Two processes:
`test_step.py`."""

from contextlib import nullcontext
from itertools import cycle

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from nightlab.benchmark.calls import random_inputs
from nightlab.config import load_config
from nightlab.engine import step
from nightlab.engine.faults import BadFiles, BadSteps, DeadWorkers
from nightlab.engine.step import GuardedTrainer, check_batch
from nightlab.errors import InputError
from nightlab.signals import StopRequest

from .test_step import Model, batch, copied, state

# Nothing in it depends on the batch, or is drawn for it: no BatchNorm, no dropout, no drop path.
ALONE = """
_BASE_: "{base}"
MODEL:
  DEVICE: cpu
  TIMM: {{DROP_PATH_RATE: 0.0, ARGS: {{embed_dim: 8, depths: [1, 1, 1, 1], num_heads: [1, 1, 2, 2]}}}}
  SEM_SEG_HEAD: {{CONVS_DIM: 32, NUM_CLASSES: 3, DROPOUT: 0.0, CLASS_WEIGHTS: [1.0, 2.0, 0.5]}}
  AUX_HEAD: {{CONVS_DIM: 32}}
  LIGHT: {{NAME: relam, TRAIN: joint, CHANNELS: 8, BLOCKS: 1, DISCRIMINATOR_CHANNELS: 8}}
  REGION: {{ENABLED: True, CROP_SIZE: [32, 64], MIN_AREA: 4}}
  HARDNESS: {{LABELS: rdn, CONVS_DIM: 16}}
  ANCHOR_GENERATOR: {{SIZES: [[32]]}}
INPUT: {{IMAGE_SIZE: [0, 0]}}
VERSION: 2
"""


def guarded(model, batches, lr=1.0, **more):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    given = {"steps": BadSteps(9), "files": BadFiles(9), "workers": DeadWorkers(0), "stop": StopRequest()}
    return GuardedTrainer(model, cycle(batches), optimizer, amp=False, gather_metric_period=1, **given, **more)


# In the detector's stage the image level is frozen, and sees one image at a time, for which GroupNorm is no norm.
@pytest.mark.parametrize("stage, norm", [("image", "GN"), ("region", "GN"), ("rdn", "BN")])
def test_two_halves_give_the_gradient_of_the_whole(stage, norm, tmp_path, repository, monkeypatch):
    """In double precision, since norms of so few values make much of rounding. Of cross entropy with weights and
    unequally many ignored pixels, of both players of the light adaptation, of the detector."""
    path = tmp_path / "alone.yaml"
    path.write_text(ALONE.format(base=repository / "configs" / "backbones" / "swin_nano.yaml"))
    cfg = load_config(path, ["MODEL.NIGHTLAB.STAGE", stage, "MODEL.SEM_SEG_HEAD.NORM", norm])
    images = [{**x, "file_name": "x"} for x in random_inputs(cfg, (32, 64), 4)]
    for i, image in enumerate(images):
        image["sem_seg"][: 10 * i] = 255
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    gradients = []
    for accumulate in (1, 2):
        torch.manual_seed(0)
        model = build_model(cfg).train().double()
        if model.region_level is not None:
            model.region_level.used[0] = True
        made = guarded(model, [images], accumulate=accumulate, divide_together=model.divided_together)
        with EventStorage() as storage:
            torch.manual_seed(1)  # which anchors count is drawn image by image
            made.run_step()
            losses = {name: value for name, (value, _) in storage.latest().items() if name.startswith("loss")}
        gradients.append((losses, {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    (losses, whole), (other_losses, halves) = gradients
    assert losses == pytest.approx(other_losses, rel=1e-5)
    assert len(losses) == {"image": 5, "region": 5, "rdn": 2}[stage]
    assert whole.keys() == halves.keys() and len(whole) > 10
    for name, gradient in whole.items():
        difference = (gradient - halves[name]).abs().max()
        assert difference <= 1e-6 * gradient.abs().max() + 1e-12, name


@pytest.mark.parametrize("spoiled", [0, 1])
def test_one_bad_batch_spoils_the_step(spoiled, caplog):
    """Whichever it is: weights, optimiser and running statistics are as they were."""
    good, bad = batch() + batch(), batch("inf") + batch() if spoiled == 0 else batch() + batch("inf")
    made = guarded(Model(), [good, bad, good], lr=0.1, accumulate=2)
    with EventStorage() as storage, caplog.at_level("WARNING", "nightlab"):
        made.run_step()
        before = copied(made)
        made.run_step()
        assert all(torch.equal(value, before[key]) for key, value in state(made).items())
        assert storage.latest()["bad_steps"] == (1, 0) and "loss_b" in caplog.text and "inf.png" in caplog.text
        made.run_step()
    assert not torch.equal(made.model.weight, before["weight"])


def test_amps_scaler_steps_once(monkeypatch):
    """On the CPU, in full precision, with torch's scaler: the scale grows by one step, not by two batches."""
    monkeypatch.setattr(step, "_reading", lambda values: values.tolist)
    monkeypatch.setattr(GuardedTrainer, "_precision", lambda self: nullcontext())
    plain, scaled = (guarded(Model(), [batch() + batch()], lr=0.1, accumulate=2) for _ in range(2))
    scaled.amp, scaled.grad_scaler = True, torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
    with EventStorage():
        for turn, scale in enumerate((8.0, 16.0)):
            plain.run_step()
            scaled.run_step()
            assert scaled.grad_scaler.get_scale() == scale, turn
    assert torch.allclose(plain.model.weight, scaled.model.weight)


@pytest.mark.parametrize("images, batches", [(6, 4), (4, 0), (0, 1)])
def test_batches_that_do_not_fit_are_refused(images, batches):
    cfg = load_config("configs/Base-UPerNet.yaml", [])
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.ACCUMULATE = images, batches
    with pytest.raises(InputError, match=rf"IMS_PER_BATCH: {images} images of stage rdn .* {batches} batches a step"):
        check_batch(cfg.SOLVER, "rdn")
