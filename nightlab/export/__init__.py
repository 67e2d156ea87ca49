"""A trained model as an ONNX file: one graph from a frame to its label map, checked against the model itself."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip
