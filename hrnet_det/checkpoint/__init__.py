"""Weights: loaded as data, checked, and never left random in silence."""

from hrnet_det.checkpoint.load_report import LoadReport
from hrnet_det.checkpoint.loader import Checkpointer

__all__ = ["Checkpointer", "LoadReport"]
