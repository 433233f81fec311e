"""AMP on the CPU: the forward pass of a training in bfloat16."""

from __future__ import annotations

import torch
from torch import nn


def autocast_training(model: nn.Module) -> None:
    """Run the model's forward in bfloat16 autocast on the CPU, in training; backward follows it.

    The backbone's features are returned as float32: the backward pass of RoIAlign sums up what
    many boxes say of a cell, and in bfloat16 a sum of 256 equal numbers already stops growing.
    """
    backbone = getattr(model, "module", model).backbone
    backbone.register_forward_hook(
        lambda _, __, features: {name: x.float() for name, x in features.items()}
    )
    autocast = torch.autocast("cpu", torch.bfloat16)

    def enter(module: nn.Module, _: object) -> None:
        if module.training:
            autocast.__enter__()

    def leave(module: nn.Module, _: object, __: object) -> None:
        if module.training:
            autocast.__exit__(None, None, None)

    model.register_forward_pre_hook(enter)
    model.register_forward_hook(leave, always_call=True)
