"""Two processes over gloo: all stages to the evaluation of both levels, and what happens when one of them fails."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nightlab.signals import STOPPED

from .test_run import config  # noqa: F401 (a fixture)
from .test_stages import dual  # noqa: F401 (a fixture)

# All weights and statistics are summed up after every stage. The detector's batches are counted: how many hard
# regions each process had.
TWO = """
import json, sys
from argparse import Namespace
import torch
from detectron2.utils import comm
from nightlab.data.region_mapper import FrameMapper
from nightlab.engine.run import run
from nightlab.engine.trainer import NightLabTrainer

folder, config, card = sys.argv[1:]
opts = ["DATASETS.CARDS", f"['{card}']", "MODEL.LIGHT.NAME", "relam", "MODEL.LIGHT.CHANNELS", "8"]
opts += ["DATASETS.DAY", "('tiny_test',)", "TEST.PICTURES", "0", "TEST.EVAL_PERIOD", "0", "MODEL.ADAPT.ENABLED", "True"]
opts += ["MODEL.ADAPT.DISCRIMINATOR_CHANNELS", "8", "STAGES.ADAPT.MAX_ITER", "2", "INPUT.CROP_SIZE", "[48, 96]"]
train, mapped, counts, compared = NightLabTrainer.train, FrameMapper.__call__, [], []

def trained(self):
    train(self)
    # What they have is compared afterwards: here, the processes must not wait for each other.
    compared.append([self.stage, [float(x.double().sum()) for x in self.model.state_dict().values()]])

def counted(self, record, key):
    item = mapped(self, record, key)
    counts.append([*key[1:3], len(item["hard_boxes"])])
    return item

def begin(**changes):
    given = {"config_file": config, "opts": opts, "eval_only": False, "resume": False, "stage": "all"}
    return run(Namespace(**(given | changes)))

def work(rank):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    comm.create_local_process_group(2)
    NightLabTrainer.train, FrameMapper.__call__ = trained, counted
    found = {"results": begin(), "counts": counts, "compared": compared}
    torch.distributed.destroy_process_group()
    json.dump(found, open(f"{folder}/{rank}.json", "w"))

torch.set_num_threads(1)
torch.multiprocessing.start_processes(work, nprocs=2, start_method="fork")
more = ["MODEL.WEIGHTS", f"{folder}/out/model_final.pth", "OUTPUT_DIR", f"{folder}/alone"]
json.dump(begin(eval_only=True, opts=opts + more), open(f"{folder}/alone.json", "w"))
"""

# Process 1 fails in its third step, while the other one waits for it. Forked, or each would import everything anew.
FAILS = """
from argparse import Namespace
from functools import partial
import torch
from detectron2.utils import comm
from nightlab.engine.launching import launch_run
from nightlab.signals import StopRequest

def work(args):
    with StopRequest().heeded():  # as training does
        for turn in range(5):
            if turn == 2 and comm.get_rank() == 1:
                raise RuntimeError("process 1 is out of luck")
            torch.distributed.all_reduce(torch.ones(1))

if __name__ == "__main__":
    torch.multiprocessing.start_processes = partial(torch.multiprocessing.start_processes, start_method="fork")
    launch_run(work, Namespace(num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto"))
"""

# What is left of the group when a process is done with its run, or was asked to stop.
LEAVES = """
import sys
from argparse import Namespace
from functools import partial
import torch
from torch import distributed
from nightlab.engine import launching
from nightlab.signals import Stopped

def work(args):
    distributed.all_reduce(torch.ones(1))
    if args.stops:
        raise Stopped

def watched(run, args):
    try:
        run_with_patience(run, args)
    finally:
        print("stayed\\n" if distributed.is_initialized() else "left\\n", end="", flush=True)  # at once

if __name__ == "__main__":
    torch.multiprocessing.start_processes = partial(torch.multiprocessing.start_processes, start_method="fork")
    run_with_patience, launching._run_with_patience = launching._run_with_patience, watched
    one = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0, "dist_url": "auto"}
    launching.launch_run(work, Namespace(**one, stops=len(sys.argv) > 1))
"""


def finished(script, *arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


@pytest.fixture
def sparse(tiny_root):
    """The tiny data set with half of its images free of hard classes, and an odd number to test on; its card."""
    for source, twin in (("b0", "b2"), ("b1", "b3"), ("c0", "c2")):
        for folder in ("images", "labels"):
            shutil.copy(tiny_root / folder / f"{source}.png", tiny_root / folder / f"{twin}.png")
    for image_id in ("a1", "a3", "b1", "b3"):
        path = tiny_root / "labels" / f"{image_id}.png"
        Image.fromarray(np.full_like(np.array(Image.open(path)), 2)).save(path)
    return tiny_root.parent / "tiny.yaml"


def test_all_stages_in_two_processes(dual, sparse, tmp_path):  # noqa: F811
    script = tmp_path / "two.py"
    script.write_text(TWO)
    done = finished(script, tmp_path, dual, sparse)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second, alone = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("0", "1", "alone"))
    assert first["compared"] == second["compared"], "equal weights and statistics after every stage"
    assert [stage for stage, _ in first["compared"]] == ["light", "adapt", "image", "region", "rdn", "hdm"]
    at = [{(stage, iteration): boxes for stage, iteration, boxes in part["counts"]} for part in (first, second)]
    assert any((at[0][key] == 0) != (at[1][key] == 0) for key in at[0]), "a hard region in one process only"
    assert second["results"] == {"best": {}, "last": {}}
    for level in ("sem_seg", "sem_seg_image_level"):
        merged = first["results"]["last"]["tiny_test"][level]
        assert merged == pytest.approx(alone["tiny_test"][level], abs=1e-6, nan_ok=True)
    documents = [
        json.loads((tmp_path / place).read_text())
        for place in ("out/evaluation/tiny_test/last.json", "alone/evaluation/tiny_test/eval.json")
    ]
    assert documents[0]["images"] == 3 and documents[0]["confusion_matrix"] == documents[1]["confusion_matrix"]


def test_a_process_that_fails_ends_all_with_its_message(tmp_path):
    script = tmp_path / "fails.py"
    script.write_text(FAILS)
    done = finished(script)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "RuntimeError: process 1 is out of luck", done.stderr[-3000:]
    assert "-- Process 1 terminated" in done.stderr


@pytest.mark.parametrize("arguments, status", [((), 0), (("stops",), STOPPED)])
def test_processes_leave_their_group_before_they_end(tmp_path, arguments, status):
    """A thread of gloo that outlives Python would abort its process."""
    script = tmp_path / "leaves.py"
    script.write_text(LEAVES)
    done = finished(script, *arguments)
    # Where the first one ends with a status, the other may be ended before it has said so.
    assert (done.returncode, set(done.stdout.split())) == (status, {"left"}), done.stderr[-3000:]
