"""What MODEL.LIGHT.NAME may say; apart from the modules themselves, for those who need no torch."""

# Those that learn, beside the segmentation or before it.
TRAINED = ("relam", "translation")
KINDS = ("", *TRAINED, "gamma", "clahe", "torchscript", "onnx")
