"""Convolution and normalisation, the two residual blocks, and activation checkpointing."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from detectron2.layers import get_norm
from torch import Tensor, nn

from hrnet_det.modeling.backbone.fused import FusedConv2d, can_be_folded, folded

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


class ConvNorm(nn.Sequential):
    """Convolution (0), norm (1), and where asked for a ReLU (2)."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, norm: Norm, relu: bool
    ) -> None:
        layer = conv(in_channels, out_channels, kernel, stride, norm)
        activation = [nn.ReLU(inplace=True)] if relu else []
        super().__init__(layer, norm_layer(norm, out_channels), *activation)

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        return conv_norm(self[0], self[1], x, add=add, relu=len(self) == 3)


def conv_norm(
    conv: nn.Module, norm: nn.Module, x: Tensor, *, relu: bool, add: Tensor | None = None
) -> Tensor:
    """ReLU(norm(conv(x)) + add), the one step that the whole network is made of.

    Args:
        conv: a Conv2d, or a FusedConv2d, which holds the norm as well.
        add: a map of the result's shape. It may be overwritten: not to be used afterwards.
    """
    if isinstance(conv, FusedConv2d):
        return conv(x, relu=relu, add=add)
    if torch.is_grad_enabled() and can_be_folded(conv, norm):
        weight, bias = folded(conv, norm)
        y = F.conv2d(x, weight, bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    else:
        y = norm(conv(x))
    if add is not None:
        y = y.add_(add)
    return F.relu_(y) if relu else y


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut; (N, C, H, W) to the same shape.

    In the form that optimize_for_inference makes, the input is overwritten.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 3, 1, norm)
        self.bn1 = norm_layer(norm, channels)
        self.conv2 = conv(channels, channels, 3, 1, norm)
        self.bn2 = norm_layer(norm, channels)

    def forward(self, x: Tensor) -> Tensor:
        y = conv_norm(self.conv1, self.bn1, x, relu=True)
        return conv_norm(self.conv2, self.bn2, y, relu=True, add=x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a shortcut; (N, in, H, W) to (N, 4 * width, H, W).

    In the form that optimize_for_inference makes, the input is overwritten where in is 4 * width.
    """

    def __init__(self, in_channels: int, width: int, norm: Norm) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv1 = conv(in_channels, width, 1, 1, norm)
        self.bn1 = norm_layer(norm, width)
        self.conv2 = conv(width, width, 3, 1, norm)
        self.bn2 = norm_layer(norm, width)
        self.conv3 = conv(width, out_channels, 1, 1, norm)
        self.bn3 = norm_layer(norm, out_channels)
        self.downsample = nn.Identity()
        if in_channels != out_channels:
            self.downsample = ConvNorm(in_channels, out_channels, 1, 1, norm, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        y = conv_norm(self.conv1, self.bn1, x, relu=True)
        y = conv_norm(self.conv2, self.bn2, y, relu=True)
        return conv_norm(self.conv3, self.bn3, y, relu=True, add=self.downsample(x))
