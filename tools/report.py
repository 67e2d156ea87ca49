"""Write the report of a run: one HTML page with its figures, curves and pictures.

    python tools/report.py RUN_DIR [--output FILE]

RUN_DIR is the OUTPUT_DIR of a training, finished or still going on. Exit status: 2 if it is no such folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.errors import exits_on_input_error
from nightlab.report import write_report


@exits_on_input_error("report.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", metavar="RUN_DIR", type=Path)
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to write (default: RUN_DIR/report.html)")
    options = parser.parse_args(arguments)
    print(write_report(options.run_dir, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
