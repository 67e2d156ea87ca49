"""The command `nightlab`: one name before the command lines of tools/ and projects/."""

import runpy
import sys
from collections.abc import Sequence

import nightlab
from nightlab.places import folder

# Command -> the folder of its file, the file, what it does.
COMMANDS = {
    "train": ("projects", "train_net.py", "train and evaluate; --eval-only evaluates"),
    "demo": ("tools", "demo.py", "show what a model sees in images, a video or a camera"),
    "web": ("tools", "web_demo.py", "the same on a local web page, with the photos of your browser"),
    "export": ("tools", "export.py", "write a model as one file, ONNX or torch.export's"),
    "check": ("tools", "check_dataset.py", "check the files of a data set"),
    "compare": ("tools", "compare.py", "intervals of evaluations and of their differences"),
    "report": ("tools", "report.py", "write the page of a run again"),
    "calibrate": ("tools", "calibrate.py", "fit a checkpoint's confidence on held-out images"),
    "hard-classes": ("tools", "find_hard_classes.py", "rank classes by held-out IoU"),
    "benchmark": ("tools", "benchmark.py", "parameters, operations, time, memory"),
    "install-detectron2": ("tools", "install_detectron2.py", "install Detectron2, which all of the above need"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command named first with the arguments after it; returns its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["evaluate"]:
        given = ["train", "--eval-only", *given[1:]]
    if given == ["--version"]:
        print(f"nightlab {nightlab.__version__}")
        return 0
    if not given or given[0] not in COMMANDS:
        asked = given[:1] in ([], ["-h"], ["--help"])
        print(_usage(), file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    if given[0] != "install-detectron2":
        try:
            from nightlab import needs_detectron2  # noqa: F401
        except ModuleNotFoundError as error:
            print(f"nightlab: {error}", file=sys.stderr)
            return 2
    place, file, _ = COMMANDS[given[0]]
    before = sys.argv
    sys.argv = [file, *given[1:]]
    try:
        runpy.run_path(str(folder(place) / file), run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = before
    return 0


def _usage() -> str:
    commands = {"evaluate": "the same as train --eval-only", **{name: what for name, (_, _, what) in COMMANDS.items()}}
    lines = [f"  {name:18} {what}" for name, what in commands.items()]
    return "\n".join(["usage: nightlab COMMAND ...  (nightlab COMMAND --help tells more)", "", *lines])
