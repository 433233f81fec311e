"""A run that is about to start, as the checks before it see it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from functools import cached_property

import torch

from hrnet_det.checkpoint.addresses import IMAGENET, find_weights
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.latest import latest_checkpoint
from hrnet_det.checkpoint.model_config import config_of
from hrnet_det.config import settings
from hrnet_det.config.load import parse_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import Splits
from hrnet_det.errors import InputError
from hrnet_det.export.opening import is_exported, open_exported


@dataclass
class Job:
    """A run about to start.

    Args:
        trains: False: it only evaluates.
        resume: it goes on from the last checkpoint of OUTPUT_DIR that can be read, if there is one.
        num_gpus: processes on each machine, with a GPU each where there are any.
        option: what the user sets them with.
        splits: the datasets that it uses, once they are prepared.
    """

    run: RunConfig
    trains: bool = True
    resume: bool = False
    num_gpus: int = 1
    num_machines: int = 1
    option: str = "--num-gpus"
    splits: Splits = field(default_factory=lambda: Splits((), ()))

    @property
    def processes(self) -> int:
        return self.num_gpus * self.num_machines

    @property
    def device(self) -> str:
        """The type of its device: "cuda", "cpu", ..."""
        return torch.device(str(self.run[settings.DEVICE])).type

    @cached_property
    def checkpoint(self) -> str:
        """The checkpoint of OUTPUT_DIR that it goes on from or evaluates; "" for none."""
        if not self.resume:
            return ""
        allow_pickle = self.run[settings.WEIGHTS_ALLOW_PICKLE]
        folder = str(self.run[settings.OUTPUT_DIR])
        return latest_checkpoint(folder, allow_pickle=allow_pickle).path

    @cached_property
    def earlier(self) -> RunConfig | None:
        """The config of the run that is gone on with or evaluated; None if it is not known.

        The whole file of its weights is read, once.
        """
        path = self.checkpoint or ("" if self.trains else str(self.run[settings.WEIGHTS]))
        if path in ("", IMAGENET):
            return None
        allow_pickle = self.run[settings.WEIGHTS_ALLOW_PICKLE]
        with contextlib.suppress(InputError):  # said where the weights are loaded
            path = find_weights(path)
            if is_exported(path):
                return parse_run(str(open_exported(path).metadata["config"]), path)
            return config_of(read_weights(path, allow_pickle=allow_pickle))
        return None
