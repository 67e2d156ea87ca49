"""Runs exported models: numpy, OpenCV and onnxruntime, and neither torch nor Detectron2."""

from nightlab.runtime.exported import ExportedModel
from nightlab.runtime.model import OnnxModel
from nightlab.runtime.segmentation import Region, Segmentation

__all__ = ["ExportedModel", "OnnxModel", "Region", "Segmentation"]
