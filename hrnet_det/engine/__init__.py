"""The Trainer and the training program."""

from hrnet_det.engine.lazy_trainer import LazyTrainer, trainer_of
from hrnet_det.engine.trainer import Trainer

__all__ = ["LazyTrainer", "Trainer", "trainer_of"]
