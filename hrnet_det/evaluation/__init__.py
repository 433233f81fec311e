"""The report of a run."""

from hrnet_det.evaluation.report import write_report

__all__ = ["write_report"]
