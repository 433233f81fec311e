"""The exponential moving average (EMA) of the weights: SOLVER.EMA_DECAY."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from detectron2.engine import HookBase
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

logger = logging.getLogger("detectron2.hrnet_det")


class WeightAverage(HookBase):
    """A second copy of the model with the average of the weights over the steps of a training.

    After step n, counted from 0, average = d * average + (1 - d) * weights with
    d = min(decay, (1 + n) / (10 + n)), so that the first weights are soon forgotten (n = 0: a
    copy). Statistics of norms are averaged likewise; whole numbers are copied.

    The average is what is evaluated and what stands under "model" in checkpoints. The trained
    weights are this hook's state there, which --resume goes on with.

    Source: torch.optim.swa_utils; the decay rises as in TensorFlow's ExponentialMovingAverage.

    Args:
        model: the detector, wrapped by DistributedDataParallel or not, the same in all processes.
        decay: 0 for none: `averaged` is then the model itself.
    Attributes: averaged: the model to load weights into before training, to evaluate and to save.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._trained = getattr(model, "module", model)
        self._average = None
        if decay:
            update = _rising(decay, self)
            average = AveragedModel(self._trained, multi_avg_fn=update, use_buffers=True)
            self._average = average.requires_grad_(False)
        self.averaged = self._average.module if self._average else model

    @property
    def updates(self) -> int:
        """Steps that are in the average."""
        return int(self._average.n_averaged) if self._average else 0

    def state_dict(self) -> dict:
        if not self._average:
            return {}
        return {"trained": self._trained.state_dict(), "updates": self.updates}

    def load_state_dict(self, state: dict) -> None:
        self._trained.load_state_dict(state["trained"])
        if self._average:
            self._average.n_averaged.fill_(state["updates"])
        else:
            logger.info("The checkpoint has averaged weights too, which are left out: no EMA_DECAY")

    def before_train(self) -> None:
        if self._average and not self.updates:  # weights to start from have been loaded into it
            self._trained.load_state_dict(self.averaged.state_dict())

    def after_step(self) -> None:
        if self._average:
            self._average.update_parameters(self._trained)


def _rising(decay: float, hook: WeightAverage) -> callable:
    """The update of averages, at a decay that rises with the hook's number of updates."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], weights: Sequence[Tensor], _: Tensor) -> None:
        if not averages[0].is_floating_point():
            for average, weight in zip(averages, weights, strict=True):
                average.copy_(weight)
            return
        n = hook.updates
        get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, _)

    return update
