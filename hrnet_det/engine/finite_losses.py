"""Losses and gradients that are not finite end a training before the optimizer's step."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import Tensor, distributed, nn
from torch.nn.utils import get_total_norm

from hrnet_det.data.random_numbers import random_numbers_apart
from hrnet_det.environment import one_line
from hrnet_det.modeling.inference.finite import all_finite, watched

# What Detectron2 ends in where numbers are not finite: it finds it itself in proposals
# (FloatingPointError) and boxes (an assertion that says NaN), or stumbles over it anywhere.
STUMBLES = (ArithmeticError, AssertionError, IndexError, ValueError)


class NotFinite(FloatingPointError):
    """Raised in all processes of a training together, before the optimizer's step."""


def says_not_finite(error: BaseException) -> bool:
    return isinstance(error, FloatingPointError) or "NaN" in str(error)


@dataclass(frozen=True)
class Batch:
    """What the losses of a training's forward pass depend on, beside the weights.

    Args:
        rows: Detectron2's, of this process.
        random: states of torch's generators before the forward pass, by device type.
        parts: that they go through the model in (GradientAccumulation).
        autocast: the type of CUDA's autocast, such as "float16"; "" for none.
    """

    rows: list[dict]
    random: dict[str, Tensor]
    parts: int = 1
    autocast: str = ""

    @property
    def files(self) -> list[str]:
        return [str(row.get("file_name", "an image without a name")) for row in self.rows]


class Outcome(NamedTuple):
    """Of a forward pass that is repeated."""

    losses: dict[str, float]  # means over the parts; not all of them where it ended in an error
    module: str  # "NAME (Class)" of the first whose output was not finite; "" for none
    error: str

    @property
    def is_finite(self) -> bool:
        total = torch.tensor(sum(self.losses.values()))
        return not self.error and not self.module and bool(total.isfinite())


class FiniteLosses(nn.Module):
    """A model in training: its losses are finite in all processes, or all of them stop.

    Args:
        model: the detector in what it is trained by (DistributedDataParallel,
            GradientAccumulation). parts, autocast: as of Batch.
    Attributes: latest: the Batch of the latest forward pass with gradients; None before the first.
    Input, output: the model's.
    Raises: NotFinite in each process if a loss of any is not finite, before the backward pass.
    Differs from source: Detectron2 asks the main process alone, and the others wait for it.
    """

    def __init__(self, model: nn.Module, *, parts: int = 1, autocast: str = "") -> None:
        super().__init__()
        self.model = model
        self.parts, self.autocast = parts, autocast
        self.latest: Batch | None = None

    @property
    def module(self) -> nn.Module:
        return getattr(self.model, "module", self.model)

    def forward(self, rows: list[dict]) -> dict[str, Tensor]:
        if not torch.is_grad_enabled():
            return self.model(rows)
        self.latest = Batch(rows, _random_states(), self.parts, self.autocast)
        losses, stumbled = {}, None
        try:
            losses = self.model(rows)
        except STUMBLES as error:
            if not says_not_finite(error):
                raise
            stumbled = error
        fine = stumbled is None and all_finite(sum(losses.values()).detach())
        if not _in_all_processes(fine, next(self.module.parameters()).device):
            raise NotFinite from stumbled
        return losses


class FiniteGradients(HookBase):
    """Gradients are finite before they are clipped and a step is made; weights stay as they are.

    For trainers without a GradScaler, which itself makes no step with others. Gradients are the
    same in all processes.

    Raises: NotFinite in each process.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model, self._parameters = model, list(model.parameters())

    def after_backward(self) -> None:
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if bool(get_total_norm(gradients, float("inf")).isfinite()):
            return
        wrong = gradients_not_finite(self._model)
        raise NotFinite(f"{len(wrong)} gradients are not finite, such as that of {wrong[0]}. ")


def gradients_not_finite(model: nn.Module) -> list[str]:
    """Names of the parameters whose gradient has a NaN or infinite number."""
    named = model.named_parameters()
    return [name for name, p in named if p.grad is not None and not all_finite(p.grad)]


def forward_again(model: nn.Module, batch: Batch, *, watch: bool = True) -> Outcome:
    """Repeat a forward pass with the same random numbers, without gradients.

    Args:
        model: the detector, in training mode. Statistics of norms go on changing.
        watch: look at the output of every module.
    """
    found, losses, error = [], Counter(), ""
    if not all_finite([row.get("image") for row in batch.rows]):
        found.append("the images")
    modules = [(name, module) for name, module in model.named_modules() if name and watch]
    dtype = getattr(torch, batch.autocast) if batch.autocast else None
    cast = torch.autocast("cuda", dtype) if dtype else nullcontext()
    size = len(batch.rows) // batch.parts
    with random_numbers_apart(), EventStorage(1), torch.no_grad():  # 1: nothing is drawn
        _set_random_states(batch.random)
        try:
            with watched(modules, found.append), cast:
                for start in range(0, len(batch.rows), size):
                    for name, loss in model(batch.rows[start : start + size]).items():
                        losses[name] += float(loss) / batch.parts
        except STUMBLES as stumbled:
            error = one_line(stumbled) or type(stumbled).__name__
    return Outcome(dict(losses), found[0] if found else "", error)


def _in_all_processes(fine: bool, device: torch.device) -> bool:
    if comm.get_world_size() == 1:
        return fine
    answer = torch.tensor(float(fine), device=device)
    distributed.all_reduce(answer, distributed.ReduceOp.MIN)
    return bool(answer)


def _random_states() -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_initialized():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def _set_random_states(states: dict[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(states["cuda"])
