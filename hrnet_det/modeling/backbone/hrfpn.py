"""HRFPN: the feature pyramid that makes HRNetV2 to HRNetV2p."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d
from detectron2.modeling import Backbone
from fvcore.nn.weight_init import c2_xavier_fill
from torch import Tensor, nn

from hrnet_det.modeling.backbone.blocks import Norm, norm_layer
from hrnet_det.modeling.backbone.checkpointing import checkpointed_parts, run_checkpointed
from hrnet_det.modeling.backbone.hrnetv2 import OnBottomUp, resized

POOLINGS = {"avg": F.avg_pool2d, "max": F.max_pool2d}


class HRFPN(OnBottomUp):
    """Feature pyramid of HRNetV2p: all branches at the finest size, reduced, pooled per level.

    Source: arXiv:1904.04514 section 3 and the HRFPN neck of HRNet-Object-Detection: bilinear
    upsampling (align_corners=False), concatenation, 1x1 convolution, pooling with kernel = stride
    = 2, 4, 8, 16, and a 3x3 convolution for each level. No activation.

    Two identities make it cheaper. The 1x1 convolution commutes with the interpolation, so that
    each branch is reduced at its own size, then upsampled and added. Pooling by 2^k is pooling by
    2, k times.

    Args:
        bottom_up: a backbone whose strides double from one in_feature to the next, as HRNet.
        in_features: its features to use, finest first.
        out_channels, num_levels: channels of every level, and how many there are.
        min_level: p{min_level} is the finest, of stride 2^min_level: that of the finest
            in_feature, or twice that, by 3x3 convolutions of stride 2 (for one-stage detectors).
        pooling: "avg" or "max". share_conv: one 3x3 convolution for all levels.
        norm: after each convolution, "" (as published) for none; with a norm they have no bias.
        activation_checkpointing: as HRNet's; of this it is the "pyramid".
    Input:  images (N, 3, H, W), as bottom_up takes them.
    Output: {"p2": (N, out_channels, H/4, W/4), "p3": ...}, each level's side half of the finer
        one's rounded down, at least 1; with the stride of 2 each 3x3 convolution rounds up.
    Raises: ValueError for a feature that bottom_up lacks, strides that do not double, a level or
        pooling or norm that does not exist (the message lists the valid ones).
    Differs from source: a map too small to be pooled further keeps its side of 1.
    """

    def __init__(
        self,
        *,
        bottom_up: Backbone,
        in_features: Sequence[str] = ("hr2", "hr3", "hr4", "hr5"),
        out_channels: int = 256,
        num_levels: int = 5,
        min_level: int = 2,
        pooling: str = "avg",
        norm: Norm = "",
        share_conv: bool = False,
        activation_checkpointing: str = "none",
    ) -> None:
        super().__init__(bottom_up=bottom_up)
        shapes = bottom_up.output_shape()
        unknown = [name for name in in_features if name not in shapes]
        if unknown or not in_features:
            raise ValueError(f"HRFPN in_features {list(in_features)}: some of {list(shapes)}")
        strides = [shapes[name].stride for name in in_features]
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise ValueError(f"HRFPN: strides must double, {list(in_features)} have {strides}")
        conv_stride, remainder = divmod(2**min_level, strides[0])
        if conv_stride not in (1, 2) or remainder:
            level = strides[0].bit_length() - 1
            raise ValueError(
                f"HRFPN min_level {min_level}: {level} or {level + 1} from {in_features[0]}, "
                f"which has stride {strides[0]}"
            )
        if pooling not in POOLINGS:
            raise ValueError(f"unknown HRFPN pooling {pooling!r}; known: {', '.join(POOLINGS)}")
        if num_levels < 1:
            raise ValueError(f"HRFPN num_levels {num_levels}: at least 1")

        self.in_features = tuple(in_features)
        self.channels = [shapes[name].channels for name in in_features]
        self.stride = strides[0]
        self.pool = POOLINGS[pooling]
        self.checkpointed = checkpointed_parts(activation_checkpointing)
        self.reduction_conv = _conv(sum(self.channels), out_channels, 1, 1, norm, ReductionConv)
        self.fpn_convs = nn.ModuleList(
            _conv(out_channels, out_channels, 3, conv_stride, norm)
            for _ in range(1 if share_conv else num_levels)
        )
        levels = range(min_level, min_level + num_levels)
        self._out_features = [f"p{k}" for k in levels]
        self._out_feature_channels = dict.fromkeys(self._out_features, out_channels)
        self._out_feature_strides = {f"p{k}": 2**k for k in levels}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.bottom_up(images)
        maps = [features[name] for name in self.in_features]
        wanted = "pyramid" in self.checkpointed
        levels = run_checkpointed(wanted, self.pyramid, *maps, module=self)
        return dict(zip(self._out_features, levels, strict=True))

    def pyramid(self, *maps: Tensor) -> list[Tensor]:
        """The levels from the branches' maps (N, C_b, H/2^b, W/2^b), finest first."""
        maps = [self.reduction_conv(maps)]
        cells = self.size_divisibility // self.stride  # of a side of the finest map, at least
        for pooled in range(1, len(self._out_features)):
            x, kernel = maps[-1], tuple(min(2, side) for side in maps[-1].shape[-2:])
            if torch.jit.is_tracing():  # for images of all sizes
                x, kernel = x if cells >= 2**pooled else _with_two_rows(x), (2, 2)
            maps.append(self.pool(x, kernel_size=kernel, stride=kernel))
        levels = {}
        for k in reversed(range(len(maps))):  # a checkpointing ends before the last convolution
            levels[k] = self.fpn_convs[k % len(self.fpn_convs)](maps[k])
        return [levels[k] for k in range(len(maps))]


def _with_two_rows(x: Tensor) -> Tensor:
    """A map (N, C, H, W) in which a side of 1 is there twice: its pooled form stays the same."""
    for axis in (-2, -1):
        side = torch.as_tensor(x.shape[axis])
        x = x.index_select(axis, torch.arange(side.clamp(min=2)).clamp(max=side - 1))
    return x


class ReductionConv(Conv2d):
    """The 1x1 convolution of all branches, brought to the finest one's size and concatenated.

    Each branch is convolved at its own size, and the parts are upsampled and summed up.

    Input:  maps (N, C_b, H/2^b, W/2^b), finest first. Output: (N, out_channels, H, W).
    """

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        weights = self.weight.split([x.shape[1] for x in maps], dim=1)
        biases = [self.bias, *[None] * (len(maps) - 1)]
        y, *coarser = (F.conv2d(*part) for part in zip(maps, weights, biases, strict=True))
        for x in coarser:
            y = y.add_(resized(x, y.shape[-2:]))
        return y if self.norm is None else self.norm(y)


def _conv(
    channels: int, out_channels: int, kernel: int, stride: int, norm: Norm, kind: type = Conv2d
) -> Conv2d:
    normed = {"bias": norm == "", "norm": None if norm == "" else norm_layer(norm, out_channels)}
    layer = kind(channels, out_channels, kernel, stride, kernel // 2, **normed)
    c2_xavier_fill(layer)
    return layer
