"""What activation checkpointing saves and costs: its levels, and each of the parts they choose."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from functools import partial

import torch
from torch import nn

from hrnet_det.analysis.benchmark import alternate
from hrnet_det.analysis.cases import Case, Step, training_step
from hrnet_det.analysis.memory import activation_bytes, peak_bytes
from hrnet_det.analysis.models import build_pyramid, with_naive_pyramid
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.inference.memory_format import use_channels_last

# What can be checkpointed by itself.
CHECKPOINTABLE = (
    "stage1",
    "bottlenecks",
    "branch0",
    "branch1",
    "branch2",
    "branch3",
    "modules",
    "pyramid",
)


def compare_checkpointing(case: Case, *, rounds: int = 3, parts: bool = False) -> list[dict]:
    """A training step of HRNetV2p at each level of CHECKPOINTING.

    Args:
        case: of the pyramid, in training.
        rounds: times that each is run, in alternating order, after two runs that are not counted.
        parts: also with each of CHECKPOINTABLE alone, which the levels were chosen by.
    Returns: rows of name, activations (bytes kept for the backward pass), peak (bytes at most in a
        step, beside weights and statistics, with gradients), seconds; first "timm", then "none".
    Raises: InputError for another case.
    """
    if case.part != "pyramid" or case.mode == "inference":
        raise InputError("benchmark of checkpointing: --part pyramid and a --mode of training")
    forwards, steps = _training(case, _choices(parts))
    seconds = alternate(steps, rounds, "cpu")
    return [
        {
            "name": name,
            "activations": activation_bytes(forward),
            "peak": peak_bytes(steps[name], torch.device("cpu")),
            "seconds": statistics.median(seconds[name]),
        }
        for name, forward in forwards.items()
    ]


def _choices(parts: bool) -> dict[str, frozenset[str]]:
    """What is checkpointed, by the name of its row."""
    alone = {f"{part} alone": frozenset({part}) for part in CHECKPOINTABLE} if parts else {}
    return {"none": CHECKPOINTING["none"], **alone, **CHECKPOINTING}


def _training(
    case: Case, choices: dict[str, frozenset[str]]
) -> tuple[dict[str, Step], dict[str, Step]]:
    """A forward pass and a step of each choice, and of timm's network, with the same weights."""
    norm_eval = case.mode != "training with trained norms"
    plain = build_pyramid(case.variant, "cpu", norm_eval=norm_eval)
    naive = with_naive_pyramid(plain, case.variant)
    ours = use_channels_last(plain)
    images = torch.randn(case.batch, 3, *case.size)

    def forward(parts: frozenset[str]) -> dict[str, torch.Tensor]:
        set_checkpointed(ours, parts)
        return ours(images)

    forwards = {"timm": partial(naive, images)}
    forwards |= {name: partial(forward, parts) for name, parts in choices.items()}
    steps = {
        name: training_step(call, naive if name == "timm" else ours)
        for name, call in forwards.items()
    }
    return forwards, steps


def set_checkpointed(model: nn.Module, parts: Iterable[str]) -> None:
    """Checkpoint other parts of an HRNet and its pyramid than those it was built with."""
    for module in model.modules():
        if hasattr(module, "checkpointed"):
            module.checkpointed = frozenset(parts)
