"""Train a small model on made night scenes and show what it sees: what `make demo` runs.

    python tools/make_demo.py [--fresh] [KEY VALUE ...]

An interrupted demo goes on where its last checkpoint was written, a finished one only says where to look; --fresh trains
again. KEY VALUE pairs change the configuration, as for train_net.py.
"""

import argparse
import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from nightlab.config import load_config
from nightlab.engine.run import run
from nightlab.errors import InputError

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart" / "upernet_swin_nano.yaml"
OUTPUT = "output/demo"
# What says that a run is finished, where to go on, and what its curves are.
TRACES = ("report.html", "last_checkpoint", "metrics.json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fresh", action="store_true", help="train again from the start")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="changes to the configuration")
    options = parser.parse_args(arguments)
    try:
        opts = ["OUTPUT_DIR", OUTPUT, *options.opts]
        folder = Path(load_config(CONFIG, opts).OUTPUT_DIR)
        if options.fresh:
            for name in TRACES:
                (folder / name).unlink(missing_ok=True)
        started = time.monotonic()
        trained = not (folder / "report.html").is_file()
        if trained:
            resume = (folder / "last_checkpoint").is_file()
            run(Namespace(config_file=str(CONFIG), opts=opts, eval_only=False, resume=resume, stage="all"))
        print(where_to_look(folder, time.monotonic() - started if trained else None))
    except InputError as error:
        print(f"make_demo.py: {error}", file=sys.stderr)
        return 2
    return 0


def where_to_look(folder: Path, seconds: float | None) -> str:
    """The closing lines: the figures and the files of a finished demo; `seconds` is None where it had been trained before."""
    said = "was trained before (--fresh trains again)" if seconds is None else f"took {seconds / 60:.1f} minutes"
    lines = ["", f"The demo {said}."]
    for path in sorted(folder.glob("evaluation/*/*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        score, images = document["results"]["sem_seg"]["mIoU"], document["images"]
        at = f"{document['kind']} checkpoint, iteration {document['iteration'] + 1}"
        lines.append(f"  {score:5.2f} % mIoU on {document['dataset']} ({images} images, {at})")
    lines.append(f"  report    {folder / 'report.html'}")
    lines += [f"  pictures  {path}" for path in sorted(folder.glob("pictures/*"))]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
