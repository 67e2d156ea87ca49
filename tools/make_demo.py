#!/usr/bin/env python
"""What `make demo` runs: train the nano model on NightStreet, evaluate it, and say where to look.

A finished run is shown again, an interrupted one goes on; `--fresh` starts over.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from detectron2.engine import default_argument_parser

from nightlab.engine.run import run
from nightlab.errors import exits_on_input_error

REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = REPOSITORY / "configs" / "quickstart" / "upernet_swin_nano.yaml"


@exits_on_input_error("make_demo.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="remove the folder of an earlier demo first")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "output" / "demo", help="folder of the run")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="overrides of the configuration")
    options = parser.parse_args(arguments)
    if options.fresh and (options.output / "config.yaml").is_file():
        shutil.rmtree(options.output)
    report = options.output / "report.html"
    if not report.is_file():
        _train(options.output, options.opts)
    print(_where_to_look(options.output))
    return 0


def _train(output: Path, opts: Sequence[str]) -> None:
    """The same as train_net.py with --resume, which begins at iteration 0 where there is nothing to resume."""
    command = ["--config-file", str(CONFIG), "--resume", "OUTPUT_DIR", str(output), *opts]
    parser = default_argument_parser()
    parser.set_defaults(stage="all")
    run(parser.parse_args(command))


def _where_to_look(output: Path) -> str:
    lines = [""]
    for file in sorted(output.glob("evaluation/*/*.json")):  # best before last
        document = json.loads(file.read_text())
        results = document["results"]
        score = f"mIoU {results['sem_seg']['mIoU']:.1f}"
        if "sem_seg_image_level" in results:
            score += f" (image level alone {results['sem_seg_image_level']['mIoU']:.1f})"
        which = f"{document['kind']} checkpoint, iteration {document['iteration'] + 1}"
        lines.append(f"{score} on {document['dataset']} ({document['images']} images; {which})")
    lines += [f"report:   {output / 'report.html'}", f"pictures: {output / 'pictures'}"]
    return "\n".join([*lines, "`python tools/make_demo.py --fresh` trains again."])


if __name__ == "__main__":
    sys.exit(main())
