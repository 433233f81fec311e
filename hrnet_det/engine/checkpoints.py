"""The hooks that save checkpoints: from time to time, at the end, and of the best metric."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from detectron2.data import MetadataCatalog
from detectron2.engine import hooks

from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.latest import iteration_of
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import used_splits
from hrnet_det.engine.divergence import check_to_save
from hrnet_det.environment import one_line
from hrnet_det.errors import InputError

if TYPE_CHECKING:
    from hrnet_det.engine.trainer import Trainer

logger = logging.getLogger("detectron2.hrnet_det")


class PeriodicCheckpointer(hooks.PeriodicCheckpointer):
    """Detectron2's, for sound weights (`check_to_save`), and a training that may end early."""

    def before_train(self) -> None:
        super().before_train()
        last = self.trainer.start_iter - 1
        if 0 <= last == self.trainer.max_iter - 1:  # it ended before it could save the last one
            final = Path(self.checkpointer.save_dir, f"{self.file_prefix}_final.pth")
            if iteration_of(final) != last:
                save(self.trainer, final.stem, last)

    def step(self, iteration: int, **kwargs: object) -> None:
        self.max_iter = self.trainer.max_iter
        if self.trainer.stopped:  # after a signal, whatever the period
            self.period = 1
        if (iteration + 1) % self.period == 0 or iteration >= self.max_iter - 1:
            check_to_save(self.trainer)
        super().step(iteration, **kwargs)


class BestCheckpointer(hooks.BestCheckpointer):
    """Detectron2's, with the metric in the file, so that a resumed run does not fall behind it."""

    best = float("-inf")

    def before_train(self) -> None:
        path = Path(self._checkpointer.save_dir) / f"{self._file_prefix}.pth"
        if self.trainer.start_iter and path.is_file():
            try:
                self.best = read_weights(path).rest.get(self._val_metric, self.best)
            except InputError as error:
                logger.warning("%s will be replaced: %s", path.name, one_line(error))

    def after_train(self) -> None:
        if self.trainer.iter >= self.trainer.max_iter:  # after success
            self._best_checking()

    def _best_checking(self) -> None:
        metric, trainer = self._val_metric, self.trainer
        value, _ = trainer.storage.latest().get(metric, (float("nan"), 0))
        if value > self.best:  # nan is not
            self.best = value
            ended = trainer.iter >= trainer.max_iter  # model_final.pth is the one to go on from
            save(trainer, self._file_prefix, trainer.iter - ended, tag=not ended, **{metric: value})
            logger.info("%s.pth has %s %.2f, the best so far", self._file_prefix, metric, value)


def save(trainer: Trainer, name: str, iteration: int, **kwargs: object) -> None:
    """Save what a trainer has after an iteration, from which it may be one ahead.

    Raises: InputError as `check_to_save`.
    """
    check_to_save(trainer)
    now, trainer.iter = trainer.iter, iteration
    try:
        trainer.checkpointer.save(name, iteration=iteration, **kwargs)
    finally:
        trainer.iter = now


def metadata_of(run: RunConfig, *, trains: bool) -> dict[str, object]:
    """What checkpoints say of a run beside its weights: classes, conventions, data, config."""
    datasets = map(MetadataCatalog.get, used_splits(run, trains=trains).names)
    listed = (metadata.get("thing_classes") for metadata in datasets)
    classes = list(next(filter(None, listed), []))
    said = {"classes": classes, "conventions": run[settings.CONVENTIONS], "data": run.data}
    try:
        said["config"] = run.text()
    except ValueError as error:
        logger.warning("Checkpoints do not contain their config: %s", error)
    return said
