#!/usr/bin/env python
"""Train and evaluate NightLab: one command from data to figures.

python projects/NightLab/train_net.py --config-file configs/camvid/upernet_effnet_lite0.yaml [KEY VALUE ...]

Exit status: 0 finished; 2 something to mend, which the last line names; 75 stopped by SIGTERM or Ctrl-C with a
checkpoint, so that the same command with --resume goes on.
"""

import sys

from nightlab.errors import exits_on_input_error
from nightlab.signals import ends_in_one_line


@exits_on_input_error("train_net.py")
@ends_in_one_line()
def main(argv: list[str] | None = None) -> int:
    # Imported here, which takes seconds: a signal that comes meanwhile is heeded, too.
    from detectron2.engine import default_argument_parser

    from nightlab.engine.launching import launch_run
    from nightlab.engine.plan import CHOICES
    from nightlab.engine.run import run

    parser = default_argument_parser()
    parser.add_argument(
        "--stage", choices=tuple(CHOICES), default="all", help="run one stage of the recipe (default: all in order)"
    )
    args = parser.parse_args(argv)
    launch_run(run, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
