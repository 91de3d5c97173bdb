"""The report: one HTML page, made only from the files of a run folder or a comparison folder."""

from crossbatch.report.page import write_report
from crossbatch.report.verdict import verdict_of

__all__ = ["verdict_of", "write_report"]
