"""Imported before Detectron2 by all that stands on it: says what to do where it is missing. The runtime needs none."""

from importlib.util import find_spec

if find_spec("detectron2") is None:
    raise ModuleNotFoundError(
        "NightLab needs Detectron2, which the package index has no release of. Run `nightlab install-detectron2` "
        "(`python tools/install_detectron2.py` in NightLab's folder), or see INSTALL.md for building it from source.",
        name="detectron2",
    )
