"""Training: one loop, its parts, and the stages in their order."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip
