"""Where configurations, cards and commands lie: in the checkout, or in an installed wheel, which carries copies."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# Name here -> folder of the checkout. setup.py copies each to `_shipped/<name>` of the package.
FOLDERS = {
    "configs": "configs",
    "cards": "datasets/cards",
    "tools": "tools",
    "projects": "projects/NightLab",
    "requirements": "requirements",  # tools/install_detectron2.py reads its hash there
}


def folder(name: str) -> Path:
    """The folder of a key of `FOLDERS`."""
    shipped = _PACKAGE / "_shipped" / name
    return shipped if shipped.is_dir() else _PACKAGE.parent / FOLDERS[name]


def find_config(path: str | Path) -> Path:
    """The file itself or, where there is none, the one of this name (from `configs/` on) that came with NightLab."""
    path = Path(path)
    if path.is_file() or path.is_absolute():
        return path
    inside = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    shipped = folder("configs").joinpath(*inside)
    return shipped if shipped.is_file() else path
