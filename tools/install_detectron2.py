"""Install Detectron2 into the Python that runs this file, unless one is there already.

`--from wheel` (the default) takes the hash-checked wheel of requirements/detectron2.txt: no compiler, no code hosting.
`--from source` builds the official main branch, `--from FOLDER` (or any URL that pip takes) builds that instead.
"""

import argparse
import csv
import importlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

REQUIREMENT = Path(__file__).parents[1] / "requirements" / "detectron2.txt"
WHEEL_NAME = "sal-detectron2"
OFFICIAL = "git+https://github.com/facebookresearch/detectron2.git"


def pip(*arguments: str, remedy: str) -> None:
    """Run pip of this Python; where it fails, end with the remedy after pip's own message."""
    if subprocess.run([sys.executable, "-m", "pip", *arguments]).returncode:
        sys.exit(f"Detectron2 was not installed (pip's message is above). {remedy}")


def installed() -> str | None:
    """Version and folder of the Detectron2 that this Python imports; None where there is none."""
    spec = importlib.util.find_spec("detectron2")
    if spec is None or spec.origin is None:  # no origin: an empty folder of that name, which Python takes for a package
        return None
    try:
        detectron2 = importlib.import_module("detectron2")
    except Exception as error:
        sys.exit(
            f"The Detectron2 in {Path(spec.origin).parent} cannot be imported ({type(error).__name__}: {error}). "
            f"Remove it with `{sys.executable} -m pip uninstall detectron2 {WHEEL_NAME}` and run this again."
        )
    return f"{detectron2.__version__} in {Path(spec.origin).parent}"


def has_distribution(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def install_wheel(site: Path) -> None:
    """Put the wheel's package `detectron2` into the folder `site`.

    The wheel is tagged for Python 3.10, but its Python files run on every later one. Two things stay out: the compiled
    extension, which was built for one old torch, and a stray top-level package `tools`, which would hide others.
    """
    with tempfile.TemporaryDirectory() as folder:
        # fmt: off
        pip(
            "install", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.10",
            "--target", folder, "--require-hashes", "-r", str(REQUIREMENT),
            remedy="Can the package registry be reached? Without it: make setup DETECTRON2=FOLDER_OF_A_CHECKOUT.",
        )
        # fmt: on
        (info,) = Path(folder).glob("*.dist-info")
        for extension in Path(folder, "detectron2").glob("_C*"):
            extension.unlink()
        drop_absent_files(info / "RECORD")
        for part in (Path(folder, "detectron2"), info):
            shutil.rmtree(site / part.name, ignore_errors=True)  # a leftover of an interrupted run
            shutil.move(part, site / part.name)


def drop_absent_files(record: Path) -> None:
    """Keep to what gets installed, or a later `pip uninstall` would remove another package's `tools`."""
    kept = (record.parent.name, "detectron2")
    with record.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row[0].startswith(kept) and (record.parents[1] / row[0]).exists()]
    with record.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def build(source: str) -> None:
    """Build `source` against the torch that is installed; the wheel goes only when the build has succeeded."""
    with tempfile.TemporaryDirectory() as folder:
        # fmt: off
        pip(
            "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source,
            remedy="Building takes a C++ compiler, and git; `make setup` without DETECTRON2=... needs neither.",
        )
        # fmt: on
        if has_distribution(WHEEL_NAME):
            pip("uninstall", "--quiet", "--yes", WHEEL_NAME, remedy="Remove it by hand and run this again.")
        (wheel,) = Path(folder).glob("*.whl")
        pip("install", "--quiet", "--no-deps", "--force-reinstall", str(wheel), remedy="The build had succeeded.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", dest="source", default="wheel", metavar="wheel|source|FOLDER", help="see above")
    source = parser.parse_args().source
    # With a source asked for, the wheel is no reason to stop: it is what the source is to replace.
    found = None if source != "wheel" and has_distribution(WHEEL_NAME) else installed()
    if found:
        print(f"Detectron2 {found}: left alone.")
        return
    if source == "wheel":
        install_wheel(Path(sysconfig.get_paths()["purelib"]))
    else:
        build(OFFICIAL if source == "source" else source)
    print(f"Detectron2 installed from {source}.")


if __name__ == "__main__":
    main()
