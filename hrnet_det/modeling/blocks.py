"""Convolution and normalisation, the two residual blocks, and recomputation of activations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
from detectron2.layers import get_norm
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

NORMS = ("BN", "SyncBN", "FrozenBN", "GN", "LN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N")
Norm = str | Callable[[int], nn.Module]


def norm_layer(norm: Norm, channels: int) -> nn.Module:
    """Detectron2's `get_norm`, with an identity for no norm ("") and errors that say what fits.

    Raises: ValueError if the name is unknown, or GN's 32 groups do not divide the channels.
    """
    if isinstance(norm, str) and norm not in ("", *NORMS):
        raise ValueError(
            f"unknown norm {norm!r}; Detectron2 has {', '.join(NORMS)}, or '' for none"
        )
    if norm == "GN" and channels % 32:
        raise ValueError(
            f"norm 'GN' has 32 groups, which do not divide {channels} channels: take a variant "
            "whose widths are multiples of 32 (w32, w64), or another norm"
        )
    return get_norm(norm, channels) or nn.Identity()


def conv(in_channels: int, out_channels: int, kernel: int, stride: int, norm: Norm) -> nn.Conv2d:
    """A convolution that keeps H and W at stride 1 and has a bias only where no norm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=norm == "")


def conv_norm(
    in_channels: int, out_channels: int, kernel: int, stride: int, norm: Norm, relu: bool
) -> nn.Sequential:
    """Convolution (0), norm (1), and where asked for a ReLU (2)."""
    layers = [conv(in_channels, out_channels, kernel, stride, norm), norm_layer(norm, out_channels)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; (N, C, H, W) to the same shape."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3, 1, norm)
        self.bn1 = norm_layer(norm, channels)
        self.conv2 = conv(channels, channels, 3, 1, norm)
        self.bn2 = norm_layer(norm, channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; (N, in, H, W) to (N, 4 * width, H, W)."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, norm: Norm) -> None:
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = conv(in_channels, width, 1, 1, norm)
        self.bn1 = norm_layer(norm, width)
        self.conv2 = conv(width, width, 3, 1, norm)
        self.bn2 = norm_layer(norm, width)
        self.conv3 = conv(width, out_channels, 1, 1, norm)
        self.bn3 = norm_layer(norm, out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = (
            conv_norm(in_channels, out_channels, 1, 1, norm, relu=False)
            if in_channels != out_channels
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.downsample(x))


CHECKPOINTING_LEVELS = ("none", "balanced", "smallest")


def check_checkpointing_level(level: str) -> str:
    """The level itself. Raises: ValueError if it is unknown (the message lists the valid ones)."""
    if level not in CHECKPOINTING_LEVELS:
        raise ValueError(
            f"unknown ACTIVATION_CHECKPOINTING {level!r}; known: {', '.join(CHECKPOINTING_LEVELS)}"
        )
    return level


def recompute(
    function: Callable[..., Tensor | list[Tensor]], *inputs: Tensor, module: nn.Module | None = None
) -> Tensor | list[Tensor]:
    """function(*inputs), whose inner activations are computed again in the backward pass, not kept.

    Running statistics of norms are updated once, in the first pass: the gradients and the state
    after a step are those of a plain call.

    Args:
        function: a module, or a method of `module`.
    """
    if not torch.is_grad_enabled() or torch.jit.is_tracing():
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
        m.momentum, m.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for m, (momentum, batches) in zip(norms, before, strict=True):
            m.momentum, m.num_batches_tracked = momentum, batches
