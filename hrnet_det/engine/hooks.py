"""A progress bar for training on a terminal; elsewhere Detectron2 prints its plain lines."""

from __future__ import annotations

import resource
import sys

import torch
from detectron2.engine import HookBase
from tqdm import tqdm


def on_terminal() -> bool:
    """Whether standard output is a terminal that a bar can be drawn on."""
    return sys.stdout.isatty()


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
            total=self.trainer.max_iter,
            initial=self.trainer.start_iter,
            file=sys.stdout,  # what `on_terminal` has looked at, and where the log lines go
            unit="it",
            desc="training",
            dynamic_ncols=True,
        )

    def after_step(self) -> None:
        storage = self.trainer.storage
        latest = {name: value for name, (value, _) in storage.latest().items()}
        self._bar.set_postfix_str(
            f"loss {latest.get('total_loss', float('nan')):.3f}, lr {latest.get('lr', 0):.2g}, "
            f"{peak_memory():.1f} GB",
            refresh=False,
        )
        self._bar.update()

    def after_train(self) -> None:
        self._bar.close()
