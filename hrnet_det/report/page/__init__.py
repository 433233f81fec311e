"""The page of a run, report.html: what a detector has learnt, what is wrong, and what to do."""

from hrnet_det.report.page.page import PAGE, write_page

__all__ = ["PAGE", "write_page"]
