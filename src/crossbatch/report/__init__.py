"""The report: one HTML page, made only from the files of a run folder or a comparison folder."""

from crossbatch.report.page import write_report

__all__ = ["write_report"]
