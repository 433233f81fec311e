"""A run that is about to start, as the checks before it see it."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import Splits


@dataclass
class Job:
    """A run about to start.

    Args:
        trains: False: it only evaluates.
        resume: it goes on from the last checkpoint of OUTPUT_DIR, where there is one.
        num_gpus: processes on each machine, with a GPU each where there are any.
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
    def device(self) -> str:
        """The type of its device: "cuda", "cpu", ..."""
        return torch.device(str(self.run[settings.DEVICE])).type
