"""Activation checkpointing: activations that are computed again instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

# What is computed again in the backward pass at each level of ACTIVATION_CHECKPOINTING, chosen by
# the bytes saved per second (`python -m tools.checkpointing`): the parts at stride 4 are the
# cheapest, whole modules the most thorough. Stage 1 is then the peak of the backward pass, unless
# its bottlenecks are checkpointed one by one within it.
CHECKPOINTING: dict[str, frozenset[str]] = {
    "none": frozenset(),
    "balanced": frozenset({"stage1", "branch0", "branch1", "pyramid"}),
    "smallest": frozenset({"stage1", "bottlenecks", "modules", "pyramid"}),
}


def checkpointed_parts(level: str) -> frozenset[str]:
    """A row of CHECKPOINTING. Raises: ValueError if the level is unknown (lists the valid ones)."""
    if level not in CHECKPOINTING:
        raise ValueError(
            f"unknown ACTIVATION_CHECKPOINTING {level!r}; known: {', '.join(CHECKPOINTING)}"
        )
    return CHECKPOINTING[level]


def run_checkpointed(
    wanted: bool, function: Callable, *inputs: Tensor, module: nn.Module | None = None
) -> Tensor | list[Tensor]:
    """function(*inputs); if wanted, its activations are computed again in the backward pass.

    Running statistics of norms are updated once, in the first pass: the gradients and the state
    after a step are those of a plain call.

    Args:
        function: a module, or a method of `module`.
    """
    if not wanted or not torch.is_grad_enabled() or torch.jit.is_tracing():
        return function(*inputs)
    module = function if module is None else module
    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing in the network draws random numbers
        context_fn=lambda: (nullcontext(), _running_statistics_kept(module)),
    )


@contextmanager
def _running_statistics_kept(module: nn.Module) -> Iterator[None]:
    """Norms in training mode normalise as always but leave their running statistics alone."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    before = [(m.momentum, m.num_batches_tracked) for m in norms]
    for m in norms:  # the same tensors are used and saved as in the first pass, and moved by 0
        m.momentum, m.num_batches_tracked = 0.0, m.num_batches_tracked.clone()
    try:
        yield
    finally:
        for m, (momentum, batches) in zip(norms, before, strict=True):
            m.momentum, m.num_batches_tracked = momentum, batches
