"""A run about to start."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import Splits

# What a run writes to OUTPUT_DIR, and the next one there renames.
RUN_FILES = (
    "metrics.json",
    "results.json",
    "last_checkpoint",
    "model_best.pth",
    "model_final.pth",
)


@dataclass
class Job:
    """A run about to start.

    Args:
        trains: False: it only evaluates.
        resume: it goes on from the last checkpoint of OUTPUT_DIR, where there is one.
        num_gpus: processes on each machine, with a GPU each where there are any.
        num_machines: how many machines.
        splits: the datasets that it uses, once they are prepared.
    """

    run: RunConfig
    trains: bool = True
    resume: bool = False
    num_gpus: int = 1
    num_machines: int = 1
    splits: Splits = field(default_factory=lambda: Splits((), ()))

    @property
    def processes(self) -> int:
        return self.num_gpus * self.num_machines

    @property
    def resumes(self) -> bool:
        """There is a checkpoint to go on from."""
        folder = str(self.run[settings.OUTPUT_DIR])
        return self.resume and os.path.isfile(os.path.join(folder, "last_checkpoint"))
