#!/usr/bin/env python
"""Shows what a model sees in images, a video or a camera: panels over a legend, into files or a window.

    python tools/demo.py --config-file CFG --input street.jpg photos/ "night/*.png" --output shown \\
        --opts MODEL.WEIGHTS model_final.pth
    python tools/demo.py --config-file CFG --video-input drive.mp4 --output shown --opts MODEL.WEIGHTS model_final.pth

Without --output a window opens (q ends). Exit status: 0, 1 if a frame was left out, 2 if nothing could be done.
"""

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from nightlab.config import load_config
from nightlab.demo.panels import PANELS, check_panels, default_panels
from nightlab.demo.show import show
from nightlab.demo.sinks import Folder, Sink, Window, check_window, video_file
from nightlab.demo.sources import Images, Video, distinct_stems, find_images
from nightlab.errors import InputError, exits_on_input_error
from nightlab.predictor import Predictor


@exits_on_input_error("demo.py")
def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status."""
    options = _parse(arguments)
    source = _source(options)
    where = _target(source, options.output)
    predictor = Predictor(load_config(options.config_file, options.opts))
    panels = check_panels(options.panels or default_panels(predictor), predictor)
    with _sink(source, where) as sink:
        skipped = _until_interrupted(source, predictor, panels, sink)
    if where:
        print(f"{where}: {sink.written} frames written, {skipped} left out")
    return 1 if skipped else 0


def _source(options: argparse.Namespace) -> Images | Video:
    if options.input:
        return Images(find_images(options.input))
    return Video(options.video_input or 0)


def _target(source: Images | Video, output: Path | None) -> Path | None:
    """The folder or the video to write, None for a window; checked before the model is built.

    Raises:
        InputError: there is no window, or a picture or video would take the place of one that is read.
    """
    if output is None:
        check_window()
        return None
    if isinstance(source, Video):
        where = output if output.suffix == ".mp4" else output / f"{source.name}.mp4"
        targets = [where]
    else:
        if output.exists() and not output.is_dir():
            raise InputError(f"{output}: is a file; images are written to a folder")
        where = output
        targets = [output / f"{name}.png" for name in distinct_stems(source.files)]
    read = {file.resolve() for file in source.files}
    for target in targets:
        if target.resolve() in read:
            raise InputError(f"{target}: is an input; name another --output")
    return where


def _sink(source: Images | Video, where: Path | None) -> AbstractContextManager[Sink]:
    if where is None:
        return Window(0 if isinstance(source, Images) else 1)
    if isinstance(source, Images):
        return nullcontext(Folder(where))
    return video_file(where, source.rate, live=source.is_camera)


def _until_interrupted(source: Images | Video, predictor: Predictor, panels: Sequence[str], sink: Sink) -> int:
    """A camera films until Ctrl-C, which is no error; a file that is interrupted leaves no half video."""
    try:
        return show(source, predictor, panels, sink, every_class=isinstance(source, Video))
    except KeyboardInterrupt:
        if isinstance(source, Video) and source.is_camera:
            return 0
        raise


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", required=True, metavar="CFG")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--input", nargs="+", metavar="PATH", help="image files, folders of them, or patterns")
    given.add_argument("--video-input", metavar="FILE", help="a video")
    given.add_argument("--webcam", action="store_true", help="the first camera; Ctrl-C ends")
    parser.add_argument("--output", type=Path, metavar="DIR", help="a folder, or for videos a .mp4 file")
    parser.add_argument("--panels", nargs="+", metavar="PANEL", help=f"of {', '.join(PANELS)} (default: what there is)")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="as MODEL.WEIGHTS")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
