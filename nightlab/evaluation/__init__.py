"""Evaluation: metrics, the evaluator, multi-scale testing, intervals."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip
