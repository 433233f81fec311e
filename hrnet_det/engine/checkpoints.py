"""The hooks that save checkpoints: from time to time, at the end, and of the best metric."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import torch
from detectron2.engine import hooks

from hrnet_det.engine.divergence import check_weights
from hrnet_det.environment import one_line

logger = logging.getLogger("detectron2.hrnet_det")


class PeriodicCheckpointer(hooks.PeriodicCheckpointer):
    """Detectron2's, for weights that are finite, and a training that may end before its time."""

    def step(self, iteration: int, **kwargs: object) -> None:
        self.max_iter = self.trainer.max_iter
        if (iteration + 1) % self.period == 0 or iteration >= self.max_iter - 1:
            check_weights(self.trainer)
        super().step(iteration, **kwargs)


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, with the metric in the file, so that a resumed run does not fall behind it."""

    best = float("-inf")

    def before_train(self) -> None:
        path = Path(self._checkpointer.save_dir) / f"{self._file_prefix}.pth"
        if self.trainer.start_iter and path.is_file():
            try:
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
                logger.warning("%s is damaged, and will be replaced: %s", path, one_line(error))
            else:
                self.best = content.get(self._val_metric, self.best)

    def after_train(self) -> None:
        last = self._checkpointer.get_checkpoint_file()
        super().after_train()
        if last:  # still the one to resume from: in ours the trainer is an iteration ahead
            self._checkpointer.tag_last_checkpoint(Path(last).name)

    def _best_checking(self) -> None:
        metric, trainer = self._val_metric, self.trainer
        value, _ = trainer.storage.latest().get(metric, (float("nan"), 0))
        iteration = min(trainer.iter, trainer.max_iter - 1)  # as in the other checkpoints
        if value > self.best:  # nan is not
            self.best = value
            self._checkpointer.save(self._file_prefix, iteration=iteration, **{metric: value})
            logger.info("%s.pth has %s %.2f, the best so far", self._file_prefix, metric, value)
