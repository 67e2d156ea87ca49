"""NightLab needs nothing of detectron2's compiled extension."""

import subprocess
import sys

from .conftest import REPOSITORY

SCRIPT = """
import sys
sys.modules["detectron2._C"] = None  # what Python takes for: not to be imported
try:
    from detectron2 import _C
except ImportError:
    pass
else:
    raise AssertionError("the extension is not blocked")

import importlib, pkgutil
import torch
import nightlab
from detectron2.modeling import build_model
from nightlab.config import load_config

for module in pkgutil.walk_packages(nightlab.__path__, "nightlab."):
    importlib.import_module(module.name)
opts = "MODEL.DEVICE cpu MODEL.TIMM.NAME resnet10t MODEL.TIMM.OUT_NORM '' MODEL.SEM_SEG_HEAD.CONVS_DIM 16"
opts += " MODEL.SEM_SEG_HEAD.DEFORM_FPN True MODEL.SEM_SEG_HEAD.DEFORM_HEAD True MODEL.TIMM.DROP_PATH_RATE 0.0"
model = build_model(load_config(sys.argv[1], [x.strip("'") for x in opts.split()])).eval()
with torch.no_grad():
    output = model([{"image": torch.zeros(3, 45, 60), "height": 45, "width": 60}])[0]["sem_seg"]
assert output.shape == (19, 45, 60) and torch.isfinite(output).all()
model.train()
losses = model([{"image": torch.zeros(3, 64, 64), "sem_seg": torch.zeros(64, 64, dtype=torch.long)}])
sum(losses.values()).backward()
assert sys.modules["detectron2._C"] is None
print("works")
"""


def test_everything_imports_and_runs_without_it() -> None:
    command = [sys.executable, "-c", SCRIPT, str(REPOSITORY / "configs" / "Base-UPerNet.yaml")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("works\n")
