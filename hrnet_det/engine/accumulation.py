"""A batch that does not fit into memory, in parts: SOLVER.GRADIENT_ACCUMULATION_STEPS."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


class GradientAccumulation(nn.Module):
    """A model in training whose batch goes through it in equal parts, one after the other.

    In the forward pass all parts but the last have their backward pass at once, so that no more
    than a part's activations are kept. The gradients are those of the mean of the parts' losses:
    of the whole batch's, where a loss is a mean over images or over equally many boxes of each
    (RPN, classes and boxes when each image gives its full number of samples). A loss that
    is a mean over a varying number, such as that of masks, weighs parts equally instead; norms with
    trained statistics take them from a part. Several GPUs exchange gradients once, with the last.

    Args:
        model: the detector, wrapped by DistributedDataParallel or not.
        parts: their number, which divides the images of each process.
    Attributes: scale: what a part's loss goes through before its backward pass (of GradScaler).
    Input:  Detectron2's rows of a batch. Output: the losses' means over the parts; without
        gradients, as where statistics of norms are computed anew, the model's own output.
    Raises: ValueError if the rows cannot be divided equally.
    """

    def __init__(self, model: nn.Module, parts: int) -> None:
        super().__init__()
        self.model = model
        self.parts = parts
        self.scale: Callable[[Tensor], Tensor] = lambda loss: loss

    @property
    def module(self) -> nn.Module:
        return getattr(self.model, "module", self.model)

    def forward(self, rows: list[dict]) -> dict[str, Tensor]:
        if not torch.is_grad_enabled():
            return self.model(rows)
        size, remainder = divmod(len(rows), self.parts)
        if remainder or not size:
            raise ValueError(f"{len(rows)} images cannot be divided into {self.parts} parts")
        means: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        *first, last = (rows[i : i + size] for i in range(0, len(rows), size))
        distributed = isinstance(self.model, DistributedDataParallel)
        with self.model.no_sync() if distributed else nullcontext():
            for part in first:
                losses = self._losses(part)
                with torch.autocast(next(iter(losses.values())).device.type, enabled=False):
                    self.scale(sum(losses.values())).backward()
                for name, loss in losses.items():
                    means[name] = means[name].to(loss.device) + loss.detach()
        for name, loss in self._losses(last).items():
            means[name] = means[name].to(loss.device) + loss
        return dict(means)

    def _losses(self, part: list[dict]) -> dict[str, Tensor]:
        return {name: loss / self.parts for name, loss in self.model(part).items()}
