"""Weights: loaded as data, checked, and never left random in silence."""

from hrnet_det.checkpoint.loader import Checkpointer
from hrnet_det.checkpoint.report import LoadReport

__all__ = ["Checkpointer", "LoadReport"]
