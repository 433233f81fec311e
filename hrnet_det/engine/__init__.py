"""The Trainer and the training program."""

from hrnet_det.engine.trainer import Trainer

__all__ = ["Trainer"]
