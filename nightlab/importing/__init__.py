"""Weights that others trained, as NightLab's: recognised by their keys, with every tensor accounted for."""

from nightlab.importing.convert import Placement, convert
from nightlab.importing.files import Checkpoint, read_source, write_weights
from nightlab.importing.fit import import_backbone, import_segmentor
from nightlab.importing.rules import Source
from nightlab.importing.sources import recognise
from nightlab.importing.table import placement_table
from nightlab.importing.target import check_pixels, class_names, describe, target_config, with_overrides

__all__ = [
    "Checkpoint",
    "Placement",
    "Source",
    "check_pixels",
    "class_names",
    "convert",
    "describe",
    "import_backbone",
    "import_segmentor",
    "placement_table",
    "read_source",
    "recognise",
    "target_config",
    "with_overrides",
    "write_weights",
]
