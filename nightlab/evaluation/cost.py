"""What a frame costs in a run's model, by component: a few frames, one at a time, as evaluation runs them."""

from itertools import cycle
from pathlib import Path
from typing import Any

from detectron2.config import CfgNode

from nightlab.benchmark.calls import forward
from nightlab.benchmark.cost import components, environment
from nightlab.benchmark.timing import Timing
from nightlab.data import catalog
from nightlab.data.held_out import split_records
from nightlab.data.mapper import TestMapper
from nightlab.evaluation.pictures import spread
from nightlab.files import write_json_aside
from nightlab.modeling.inference import how_tested
from nightlab.modeling.nightlab import NightLab

FILE = "cost.json"
FRAMES = 5


def write_cost(cfg: CfgNode, model: NightLab) -> dict[str, Any]:
    """Time a few images of the first test set, or without one of the held-out images, and write `cost.json` into the
    run's folder.

    From the frame in memory to the labels of both levels, at one scale. Empty where there are no such images. For one
    process.
    """
    name = cfg.DATASETS.TEST[0] if cfg.DATASETS.TEST else "held-out images"
    records = catalog.load(name) if cfg.DATASETS.TEST else split_records(cfg)[1]
    frames = [TestMapper()(records[place]) for place in spread(len(records), FRAMES)]
    if not frames:
        return {}
    calls = cycle([forward(model, [frame]) for frame in frames])
    with model.returning(scores=False):
        timing = Timing.of(
            lambda watch: next(calls)(watch), model.device, modules=components(model), repeats=len(frames)
        )
    found = {
        "dataset": name,
        "images": len(frames),
        "size": list(frames[0]["image"].shape[-2:]),
        "precision": how_tested(cfg),
        **timing.to_json(),
        "environment": environment(model.device),
    }
    write_json_aside(Path(cfg.OUTPUT_DIR, FILE), found)
    return found
