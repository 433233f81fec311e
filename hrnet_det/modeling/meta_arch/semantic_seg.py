"""The semantic segmentation head of HRNetV2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import SEM_SEG_HEADS_REGISTRY
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor, nn


@SEM_SEG_HEADS_REGISTRY.register()
class HRNetV2SemSegHead(nn.Module):
    """A 1x1 convolution that keeps the channels, and a 1x1 convolution that gives the classes.

    Source: arXiv:1908.07919 section 5 and HRNet-Semantic-Segmentation: norm and ReLU between the
    two, logits brought to the image's size by bilinear interpolation (align_corners=False), and
    cross entropy there, weighted by class.

    Args:
        input_shape: of one feature, such as HRNetV2's "hrv2".
        num_classes: of pixels, from 0 on.
        norm: Detectron2 norm after the first convolution, "" for none.
        ignore_value: label of pixels that count for nothing.
        class_weights: one for each class, or none for 1 each.
    Input:  {feature: (N, C, H/s, W/s)}; targets (N, H, W) int64, or None in inference.
    Output: in training (None, {"loss_sem_seg": scalar}); else (logits (N, num_classes, H, W), {}).
    Raises: ValueError if the features are not one, or the weights not num_classes.
    Differs from source: a batch without any labelled pixel has a loss of 0 instead of nan.
    """

    @configurable
    def __init__(
        self,
        *,
        input_shape: dict[str, ShapeSpec],
        num_classes: int,
        norm: str,
        ignore_value: int = 255,
        loss_weight: float = 1.0,
        class_weights: Sequence[float] = (),
    ) -> None:
        super().__init__()
        if len(input_shape) != 1:
            raise ValueError(
                f"HRNetV2SemSegHead takes one feature, such as ['hrv2']; got {list(input_shape)}"
            )
        if class_weights and len(class_weights) != num_classes:
            raise ValueError(
                f"HRNetV2SemSegHead: {len(class_weights)} class weights for {num_classes} classes"
            )
        ((self.in_feature, shape),) = input_shape.items()
        self.stride = shape.stride
        self.ignore_value = ignore_value
        self.loss_weight = loss_weight
        weights = torch.tensor(class_weights) if class_weights else torch.ones(num_classes)
        self.register_buffer("class_weights", weights, persistent=False)
        normed = {"bias": not norm, "norm": get_norm(norm, shape.channels)}
        self.conv = Conv2d(shape.channels, shape.channels, 1, **normed, activation=F.relu)
        self.predictor = Conv2d(shape.channels, num_classes, 1)
        c2_msra_fill(self.conv)
        c2_msra_fill(self.predictor)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        options = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": {name: input_shape[name] for name in options.IN_FEATURES},
            "num_classes": options.NUM_CLASSES,
            "norm": options.NORM,
            "ignore_value": options.IGNORE_VALUE,
            "loss_weight": options.LOSS_WEIGHT,
            "class_weights": options.CLASS_WEIGHTS,
        }

    def forward(
        self, features: dict[str, Tensor], targets: Tensor | None = None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        logits = self.layers(features)
        if self.training:
            return None, self.losses(logits, targets)
        return self._enlarged(logits), {}

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        """Logits of the feature's cells, (N, num_classes, H/s, W/s)."""
        return self.predictor(self.conv(features[self.in_feature]))

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The loss of `layers`' logits; targets (N, H, W)."""
        options = {"weight": self.class_weights, "ignore_index": self.ignore_value}
        loss = F.cross_entropy(self._enlarged(logits), targets, reduction="sum", **options)
        labelled = targets != self.ignore_value
        weights = self.class_weights[targets * labelled] * labelled
        return {"loss_sem_seg": self.loss_weight * loss / weights.sum().clamp(min=1e-6)}

    def _enlarged(self, logits: Tensor) -> Tensor:
        return F.interpolate(
            logits.float(), scale_factor=self.stride, mode="bilinear", align_corners=False
        )
