"""One page on a comparison of methods, that opens from disk in any browser."""

from cmbml.figures.report.page import ReportData, render_report

__all__ = ["ReportData", "render_report"]
