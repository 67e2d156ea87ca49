#!/usr/bin/env python
"""Train and evaluate NightLab: one command from data to figures.

python projects/NightLab/train_net.py --config-file configs/camvid/upernet_effnet_lite0.yaml [KEY VALUE ...]

Exit status: 0 finished; 2 something to mend, which the last line names; 75 stopped by SIGTERM or Ctrl-C with a
checkpoint, so that the same command with --resume goes on.
"""

import sys

from detectron2.engine import default_argument_parser

from nightlab.engine.launching import launch_run
from nightlab.engine.plan import CHOICES
from nightlab.engine.run import run
from nightlab.errors import exits_on_input_error


@exits_on_input_error("train_net.py")
def main(argv: list[str] | None = None) -> int:
    parser = default_argument_parser()
    parser.add_argument(
        "--stage", choices=tuple(CHOICES), default="all", help="run one stage of the recipe (default: all in order)"
    )
    args = parser.parse_args(argv)
    launch_run(run, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
