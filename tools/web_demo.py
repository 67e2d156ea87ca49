#!/usr/bin/env python
"""Shows what a model sees on a web page of this machine: drop a photo, compare the levels, move the sliders.

    python tools/web_demo.py --model model.onnx         (or a checkpoint beside its config.yaml)
    python tools/web_demo.py --config-file CFG --opts MODEL.WEIGHTS model_final.pth

Ctrl-C ends. Only this machine can open the page, unless --host says otherwise. Exit status: 0, or 2 if it cannot start.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from nightlab.arguments import positive
from nightlab.errors import InputError, exits_on_input_error
from nightlab.web.app import create_app
from nightlab.web.examples import made, of_folder
from nightlab.web.room import Room
from nightlab.web.serve import check_installed, create_server, trusted_hosts
from nightlab.web.stepped import stepped
from nightlab.web.uploads import Limits


@exits_on_input_error("web_demo.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    server = build(options)
    shown = "localhost" if options.host in ("127.0.0.1", "0.0.0.0") else options.host
    print(f"http://{shown}:{server.effective_port}/  (Ctrl-C ends)", flush=True)
    if trusted_hosts(options.host) is None:
        print("Everybody who reaches this machine can use it: there is no password and no encryption.", flush=True)
    server.run()
    return 0


def title(file: Path) -> str:
    """What the page calls the model of a file; the configuration of a run is known by the run's folder."""
    return file.resolve().parent.name if file.name == "config.yaml" else file.name


def build(options: argparse.Namespace) -> object:
    """The server of the model and the limits asked for, listening."""
    check_installed()
    limits = Limits(options.max_megabytes, options.max_megapixels)
    model = stepped(options.model, options.config_file, options.opts)
    examples = of_folder(options.examples) if options.examples else made(model.size)
    room = Room(title(options.model or options.config_file), model, examples, limits, options.longest_side)
    server = create_server(create_app(room, trusted_hosts(options.host)), options.host, options.port, limits)
    room.desk.open()
    return server


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, metavar="FILE", help="an .onnx or .pt2 file or a checkpoint")
    parser.add_argument("--config-file", type=Path, metavar="CFG", help="of a checkpoint")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    parser.add_argument("--examples", type=Path, metavar="FOLDER", help="images to begin with (default: made streets)")
    parser.add_argument("--longest-side", type=positive, metavar="N", help="reduce photos to so many pixels a side")
    parser.add_argument("--max-megabytes", type=positive, default=Limits().megabytes, help="of an upload")
    parser.add_argument("--max-megapixels", type=positive, default=Limits().megapixels, help="of an upload")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="as MODEL.WEIGHTS")
    options = parser.parse_args(arguments)
    if not options.model and not options.config_file:
        raise InputError("name --model FILE, or --config-file CFG with --opts MODEL.WEIGHTS FILE")
    return options


if __name__ == "__main__":
    sys.exit(main())
