"""NightLab: segmentation of road scenes at night, on two levels. A Detectron2 project.

    model = nightlab.load("model.onnx")  # or "model.pt2", or a checkpoint, "model_best.pth"
    seen = model("street.jpg")           # or an array [H, W, 3], RGB
    seen.save("seen.png")                # seen.labels, seen.scores, seen.regions, seen.draw()

An ONNX file needs numpy, OpenCV and onnxruntime only; torch and Detectron2 are imported for all else.
"""

from nightlab.api import load

__version__ = "0.1.0"
__all__ = ["load"]
