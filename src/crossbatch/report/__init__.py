"""The report: one page, made from a run folder or a comparison folder and nothing else."""

from crossbatch.report.page import write_report

__all__ = ["write_report"]
