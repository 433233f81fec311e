"""The losses on the test sets: TEST.LOSS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from hrnet_det.data.random_numbers import random_numbers_apart

SEED = 0  # of the samples that are drawn from each image's anchors and proposals


@torch.no_grad()
def validation_losses(model: nn.Module, batches: Iterable[list[dict]]) -> dict[str, float]:
    """The means of a detector's losses over images, in all processes together.

    Norms use their running statistics, as in an evaluation. Of each image the same anchors and
    proposals are drawn every time. Model, storage of metrics and random numbers are afterwards
    what they were, so that a training goes on as if nothing had been.

    Args:
        model: the detector, wrapped by DistributedDataParallel or not.
        batches: this process's part of the images, as the detector learns from them.
    Returns: {"validation_loss/total": ..., "validation_loss/loss_cls": ..., ...}.
    """
    model, sums, images = getattr(model, "module", model), Counter(), 0
    with _untouched(model), random_numbers_apart(), EventStorage(1):  # 1: nothing is drawn
        for rows in batches:
            torch.manual_seed(SEED)
            for name, loss in model(rows).items():
                sums[name] += float(loss) * len(rows)
            images += len(rows)
    parts = comm.all_gather((dict(sums), images))
    number = sum(count for _, count in parts)
    names = dict.fromkeys(name for part, _ in parts for name in part)
    means = {name: sum(part.get(name, 0.0) for part, _ in parts) / number for name in names}
    losses = {"total": sum(means.values()), **means}
    return {f"validation_loss/{name}": loss for name, loss in losses.items()}


@contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Training mode, but for norms and dropout; then all modules are in the state they were in.

    Beside `training` that is what modules count without buffers: Detectron2's dense detectors
    divide losses by a running mean of the number of positive anchors.
    """
    before = {module: _numbers(module) for module in model.modules()}
    model.train()
    for module in model.modules():
        if isinstance(module, (_BatchNorm, _DropoutNd)):
            module.eval()
    try:
        yield
    finally:
        for module, numbers in before.items():
            for name in _numbers(module).keys() - numbers.keys():
                delattr(module, name)
            vars(module).update(numbers)


def _numbers(module: nn.Module) -> dict[str, float]:
    return {name: value for name, value in vars(module).items() if isinstance(value, (int, float))}
