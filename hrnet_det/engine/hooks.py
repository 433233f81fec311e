"""Hooks of the Trainer: the best checkpoint, and a progress bar on a terminal."""

from __future__ import annotations

import logging
import pickle
import resource
import sys
from pathlib import Path

import torch
from detectron2.engine import HookBase, hooks
from tqdm import tqdm

from hrnet_det.environment import one_line

logger = logging.getLogger("detectron2.hrnet_det")


def peak_memory() -> float:
    """GB at most held so far: by CUDA's allocator if it is in use, else resident in memory."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


class ProgressBar(HookBase):
    """Iterations done, time left, loss, learning rate and peak memory, at every iteration."""

    def before_train(self) -> None:
        self._bar = tqdm(
            desc="training",
            total=self.trainer.max_iter,
            initial=self.trainer.start_iter,
            file=sys.stdout,  # where the log lines go
            dynamic_ncols=True,
        )

    def after_step(self) -> None:
        latest = self.trainer.storage.latest()  # {name: (value, iteration)}
        loss, lr = latest.get("total_loss", (float("nan"), 0))[0], latest.get("lr", (0, 0))[0]
        said = f"loss {loss:.3f}, lr {lr:.2g}, {peak_memory():.1f} GB"
        self._bar.set_postfix_str(said, refresh=False)
        self._bar.update()

    def after_train(self) -> None:
        self._bar.close()


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
