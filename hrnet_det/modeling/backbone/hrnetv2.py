"""HRNetV1 and HRNetV2, one map at the finest branch's stride; all branches; what all share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.modeling import Backbone
from torch import Tensor


def resized(x: Tensor, size: Sequence[int], *, align_corners: bool = False) -> Tensor:
    """A map (N, C, H, W) bilinearly brought to (N, C, *size); of that size, itself."""
    if x.shape[-2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=align_corners)


class OnBottomUp(Backbone):
    """A backbone on top of another one, which decides what sizes images may have."""

    def __init__(self, *, bottom_up: Backbone) -> None:
        super().__init__()
        self.bottom_up = bottom_up

    @property
    def size_divisibility(self) -> int:
        return self.bottom_up.size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        return self.bottom_up.padding_constraints


class HRNetBranches(OnBottomUp):
    """All branches as they are, for heads that decode them.

    Args:
        bottom_up: an HRNet.
    Input:  images (N, 3, H, W). Output: {"hr2": (N, C, H/4, W/4), ...}, those of bottom_up.
    """

    def __init__(self, *, bottom_up: Backbone) -> None:
        super().__init__(bottom_up=bottom_up)
        shapes = bottom_up.output_shape()
        self._out_features = list(shapes)
        self._out_feature_channels = {name: shape.channels for name, shape in shapes.items()}
        self._out_feature_strides = {name: shape.stride for name, shape in shapes.items()}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return self.bottom_up(images)


class HRNetV2(OnBottomUp):
    """All branches brought to the finest one's size and concatenated.

    Source: arXiv:1908.07919 section 3.3, Figure 4 (b), with bilinear upsampling
    (align_corners=False); the 1x1 convolution that follows there belongs to the task's head.

    Args:
        bottom_up: an HRNet; its features are concatenated finest first.
    Input:  images (N, 3, H, W). Output: {"hrv2": (N, 15C, H/4, W/4)}.
    """

    out_feature = "hrv2"

    def __init__(self, *, bottom_up: Backbone) -> None:
        super().__init__(bottom_up=bottom_up)
        features = list(bottom_up.output_shape().values())
        self._out_features = [self.out_feature]
        self._out_feature_channels = {self.out_feature: sum(f.channels for f in features)}
        self._out_feature_strides = {self.out_feature: features[0].stride}

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        finest, *coarser = self.bottom_up(images).values()
        maps = [resized(x, finest.shape[-2:]) for x in coarser]
        return {self.out_feature: torch.cat([finest, *maps], dim=1) if maps else finest}


class HRNetV1(HRNetV2):
    """The finest branch alone.

    Source: arXiv:1908.07919 section 3.3, Figure 4 (a). It is HRNetV2 of one branch.

    Args:
        bottom_up: an HRNet built with out_features=("hr2",).
    Input:  images (N, 3, H, W). Output: {"hr2": (N, C, H/4, W/4)}.
    Raises: ValueError if bottom_up returns anything but hr2.
    """

    out_feature = "hr2"

    def __init__(self, *, bottom_up: Backbone) -> None:
        names = list(bottom_up.output_shape())
        if names != ["hr2"]:
            raise ValueError(
                f"HRNetV1 is the finest branch alone: bottom_up must return ['hr2'], not {names}"
            )
        super().__init__(bottom_up=bottom_up)
