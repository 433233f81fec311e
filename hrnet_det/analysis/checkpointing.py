"""What activation checkpointing saves and costs: its levels, and each of the parts they choose."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

import torch
from torch import nn

from hrnet_det.analysis.benchmark import Case, alternate
from hrnet_det.analysis.memory import LiveBytes, activation_bytes
from hrnet_det.analysis.models import build_pyramid, with_naive_pyramid
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.inference.memory_format import use_channels_last

RECOMPUTABLE = (
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
        parts: also with each of RECOMPUTABLE alone, which the levels were chosen by.
    Returns: rows of name, activations (bytes kept for the backward pass), peak (bytes at most in a
        step, beside weights and statistics, with gradients), seconds; first "timm", then "none".
    Raises: InputError for another case.
    """
    if (case.part, case.mode == "inference") != ("pyramid", False):
        raise InputError("benchmark of checkpointing: --part pyramid and a --mode of training")
    norm_eval = case.mode != "training with trained norms"
    plain = build_pyramid(case.variant, "cpu", norm_eval=norm_eval)
    naive = with_naive_pyramid(plain, case.variant)
    ours = use_channels_last(plain)
    images = torch.randn(case.batch, 3, *case.size)
    choices = {"none": CHECKPOINTING["none"]}
    if parts:
        choices |= {f"{part} alone": frozenset({part}) for part in RECOMPUTABLE}
    choices |= {name: parts for name, parts in CHECKPOINTING.items() if name != "none"}

    def forward(name: str) -> dict[str, torch.Tensor]:
        if name == "timm":
            return naive(images)
        set_checkpointed(ours, choices[name])
        return ours(images)

    def step(name: str) -> None:
        (naive if name == "timm" else ours).zero_grad()
        sum(x.square().mean() for x in forward(name).values()).backward()

    names = ["timm", *choices]
    seconds = alternate({name: lambda n=name: step(n) for name in names}, rounds, "cpu")
    rows = []
    for name in names:
        kept = activation_bytes(lambda n=name: forward(n))
        with LiveBytes() as counted:
            step(name)
        middle = statistics.median(seconds[name])
        rows.append({"name": name, "activations": kept, "peak": counted.peak, "seconds": middle})
    return rows


def set_checkpointed(model: nn.Module, parts: Iterable[str]) -> None:
    """Checkpoint other parts of an HRNet and its pyramid than those it was built with."""
    for module in model.modules():
        if hasattr(module, "checkpointed"):
            module.checkpointed = frozenset(parts)
