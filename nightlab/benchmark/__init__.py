"""What a configuration costs: parameters, multiplications, time by component and peak memory."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip

from nightlab.benchmark.cost import benchmark, report_table
from nightlab.benchmark.timing import Timing

__all__ = ["Timing", "benchmark", "report_table"]
