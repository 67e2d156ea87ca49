"""Looking at a model: frames from files, videos and cameras, drawn as panels, into files or a window."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip
