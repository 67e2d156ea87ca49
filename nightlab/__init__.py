"""NightLab: segmentation of road scenes at night, on two levels. A Detectron2 project."""

from importlib.util import find_spec

__version__ = "0.1.0"

if find_spec("detectron2") is None:
    raise ModuleNotFoundError(
        "NightLab needs Detectron2, which the package index has no release of. In NightLab's folder, run "
        "`python tools/install_detectron2.py`, or see INSTALL.md for building it from source.",
        name="detectron2",
    )
