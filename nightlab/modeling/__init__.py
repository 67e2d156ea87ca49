"""The method: backbones, heads, segmentor and meta-architecture, registered with detectron2."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip

from nightlab.modeling.backbone import TimmBackbone
from nightlab.modeling.deeplab import DeepLabV3PlusLogits
from nightlab.modeling.nightlab import NightLab
from nightlab.modeling.psp import PSPHead
from nightlab.modeling.segmentor import Segmentor
from nightlab.modeling.upernet import UPerNetHead

__all__ = ["DeepLabV3PlusLogits", "NightLab", "PSPHead", "Segmentor", "TimmBackbone", "UPerNetHead"]
