#!/usr/bin/env python
"""Train and evaluate NightLab: one command from data to figures.

python projects/NightLab/train_net.py --config-file configs/camvid/upernet_effnet_lite0.yaml [KEY VALUE ...]
"""

import sys

from detectron2.engine import default_argument_parser, launch

from nightlab.engine.run import run
from nightlab.engine.stages import CHOICES
from nightlab.errors import exits_on_input_error


@exits_on_input_error("train_net.py")
def main(argv: list[str] | None = None) -> int:
    parser = default_argument_parser()
    parser.add_argument(
        "--stage", choices=tuple(CHOICES), default="all", help="run one stage of the recipe (default: all in order)"
    )
    args = parser.parse_args(argv)
    launch(run, args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, args=(args,))
    return 0


if __name__ == "__main__":
    sys.exit(main())
