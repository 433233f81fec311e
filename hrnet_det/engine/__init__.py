"""The Trainer and the training program."""

from hrnet_det.environment import require_detectron2

require_detectron2()  # also in new processes: quietly, or with what to do

from hrnet_det.engine.lazy_trainer import LazyTrainer, trainer_of  # noqa: E402
from hrnet_det.engine.trainer import Trainer  # noqa: E402

__all__ = ["LazyTrainer", "Trainer", "trainer_of"]
