"""What a configuration costs: parameters, multiplications, time by component, peak memory; alone, beside a peer,
or beside what it was exported to."""

import nightlab.needs_detectron2  # noqa: F401  # isort: skip

from nightlab.benchmark.cost import benchmark, report_table
from nightlab.benchmark.exported import compare_with_exported, exported_table
from nightlab.benchmark.grid import Axis, grid_rows, measure_grid
from nightlab.benchmark.loading import loading, loading_table
from nightlab.benchmark.peers import PEERS
from nightlab.benchmark.side_by_side import compare_with_peer, peer_table
from nightlab.benchmark.timing import Timing

__all__ = [
    "PEERS",
    "Axis",
    "Timing",
    "benchmark",
    "compare_with_exported",
    "compare_with_peer",
    "exported_table",
    "grid_rows",
    "loading",
    "loading_table",
    "measure_grid",
    "peer_table",
    "report_table",
]
