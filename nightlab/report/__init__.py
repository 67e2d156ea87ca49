"""One page that shows a run: figures, curves, errors and pictures, from the files in its folder."""

from nightlab.report.page import write_report

__all__ = ["write_report"]
