"""What a run has shown: tables, curves, images."""

from hrnet_det.report.summary import write_report

__all__ = ["write_report"]
