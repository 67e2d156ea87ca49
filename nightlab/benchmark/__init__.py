"""What a configuration costs: parameters, multiplications, time by component and peak memory."""

from nightlab.benchmark.cost import benchmark, report_table
from nightlab.benchmark.timing import Timing

__all__ = ["Timing", "benchmark", "report_table"]
