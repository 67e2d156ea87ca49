"""Rehearse a configuration: all its stages at full size, a few iterations each, on made scenes, without any download.

    python tools/rehearse.py --config-file configs/nightcity/nightlab_hdm_swin_base.yaml
    python tools/rehearse.py --config-file CFG --iterations 10 --batch 4 [KEY VALUE ...]

Prints for each stage the peak memory, the time of an iteration and, apart, how long it waited for data, and the device
hours that its whole schedule would take without such waiting; also as rehearsal.json in the folder. The scenes are kept
in memory: waiting is for all that the loader does, with its DATALOADER.NUM_WORKERS, but reading files, and takes more
than two iterations to settle. "Steps taken" are those that AMP did not skip: where it is 0, the memory of the optimiser
is missing, and more iterations are needed. The checkpoints of the stages, gigabytes for a large model, are removed at
the end.
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.engine import default_setup
from detectron2.utils.logger import setup_logger

from nightlab.arguments import positive
from nightlab.config import load_config
from nightlab.engine.rehearsal import WatchCosts, costs_by_stage, costs_table, draw_scenes, rehearsal_config
from nightlab.engine.stages import train_stages
from nightlab.errors import InputError, exits_on_input_error
from nightlab.files import write_json_aside


@exits_on_input_error("rehearse.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CFG")
    parser.add_argument("--iterations", type=positive, default=2, metavar="N", help="of each stage (default: 2)")
    parser.add_argument("--batch", type=positive, default=2, metavar="N", help="images in each of them (default: 2)")
    parser.add_argument("--output", default="output/rehearsal", metavar="FOLDER", help="default: output/rehearsal")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides of the configuration")
    options = parser.parse_args(arguments)
    if any(Path(options.output).rglob("*.pth")):  # which would be removed with those of the rehearsal
        raise InputError(f"{options.output}: holds checkpoints; name another folder with --output")
    cfg = load_config(options.config_file, options.opts)
    own = rehearsal_config(cfg, iterations=options.iterations, batch=options.batch, output=options.output)
    default_setup(own, Namespace())
    setup_logger(own.OUTPUT_DIR, name="nightlab")
    draw_scenes(own)
    watching = WatchCosts(own.MODEL.DEVICE)
    try:
        train_stages(own, watching=[watching])
    finally:
        for checkpoint in Path(own.OUTPUT_DIR).rglob("*.pth"):
            checkpoint.unlink()
    on_gpu = own.MODEL.DEVICE.startswith("cuda")
    device = torch.cuda.get_device_name(own.MODEL.DEVICE) if on_gpu else "CPU"
    costs = costs_by_stage(cfg, own, watching.stages)
    crop, frame = ("x".join(map(str, size)) for size in (own.INPUT.CROP_SIZE, own.INPUT.IMAGE_SIZE))
    amp = on_gpu and own.SOLVER.AMP.ENABLED
    workers = own.DATALOADER.NUM_WORKERS
    document = {"config": options.config_file, "device": device, "amp": amp, "crop": crop, "frame": frame}
    document["workers"] = workers
    write_json_aside(Path(own.OUTPUT_DIR, "rehearsal.json"), document | {"torch": torch.__version__, "stages": costs})
    how = f"{device}, {'AMP' if amp else 'no AMP'}, batch {options.batch}, frames {frame}, crops {crop}"
    how += f", {workers} workers"
    print(f"{options.config_file}: {how}\n\n{costs_table(costs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
