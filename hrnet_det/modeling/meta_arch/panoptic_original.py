"""The heads of Panoptic-DeepLab's first code, for its weights; imported where they are asked for.

Source: github.com/bowenc0221/panoptic-deeplab, segmentation/model/decoder. Beside Detectron2's:
corners are aligned wherever maps are enlarged; the decoder's map comes before the projected branch;
atrous convolutions are plain ones, the 5x5 ones of decoder and all three heads (centres too) are
depthwise and 1x1; image pooling is of the whole image, by a convolution without bias; the loss of
offsets is a mean of both directions, not their sum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode
from detectron2.layers import ASPP, Conv2d, DepthwiseSeparableConv2d
from torch import Tensor, nn

from hrnet_det.modeling.backbone.hrnetv2 import resized
from hrnet_det.modeling.meta_arch.panoptic_project import panoptic_project

_PROJECT = panoptic_project()


class _Aligned:
    """What both heads share: the decoder, and maps of the image's size."""

    def decoded(self, features: dict[str, Tensor]) -> Tensor:
        """The decoder's map of the finest branch's size, (N, channels, H/4, W/4)."""
        coarsest = self.in_features[-1]
        y = self.decoder[coarsest]["project_conv"](features[coarsest])
        for name in reversed(self.in_features[:-1]):
            projected = self.decoder[name]["project_conv"](features[name])
            y = resized(y, projected.shape[-2:], align_corners=True)
            y = self.decoder[name]["fuse_conv"](torch.cat([y, projected], dim=1))
        return y

    def enlarged(self, x: Tensor) -> Tensor:
        """A map of the finest branch's size brought to that of the image."""
        size = [(side - 1) * self.common_stride + 1 for side in x.shape[-2:]]
        return resized(x.float(), size, align_corners=True)


class OriginalSemSegHead(_Aligned, _PROJECT.PanopticDeepLabSemSegHead):
    """The classes of pixels. Input, output: as Detectron2's PanopticDeepLabSemSegHead."""

    def forward(
        self,
        features: dict[str, Tensor],
        targets: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        logits = self.layers(features)
        if self.training:
            return None, self.losses(logits, targets, weights)
        return self.enlarged(logits), {}

    def layers(self, features: dict[str, Tensor]) -> Tensor:
        return self.predictor(self.head(self.decoded(features)))

    def losses(
        self, predictions: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        loss = self.loss(self.enlarged(predictions), targets, weights)
        return {"loss_sem_seg": loss * self.loss_weight}


class OriginalInsEmbedHead(_Aligned, _PROJECT.PanopticDeepLabInsEmbedHead):
    """Centres and offsets. Input, output: as Detectron2's PanopticDeepLabInsEmbedHead."""

    def forward(self, features: dict[str, Tensor], *targets: Tensor) -> tuple:
        centre, offset = self.layers(features)
        if not self.training:
            return self.enlarged(centre), self.enlarged(offset) * self.common_stride, {}, {}
        true_centre, centre_weights, true_offset, offset_weights = targets
        return (
            None,
            None,
            self.center_losses(centre, true_centre, centre_weights),
            self.offset_losses(offset, true_offset, offset_weights),
        )

    def layers(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        y = self.decoded(features)
        centre = self.center_predictor(self.center_head(y))
        return centre, self.offset_predictor(self.offset_head(y))

    def center_losses(self, predictions: Tensor, targets: Tensor, weights: Tensor) -> dict:
        loss = self.center_loss(self.enlarged(predictions), targets)
        return {"loss_center": self.center_loss_weight * _mean(loss, weights)}

    def offset_losses(self, predictions: Tensor, targets: Tensor, weights: Tensor) -> dict:
        loss = self.offset_loss(self.enlarged(predictions) * self.common_stride, targets)
        return {"loss_offset": self.offset_loss_weight * _mean(loss, weights)}


def _mean(loss: Tensor, weights: Tensor) -> Tensor:
    """The mean of a loss (N, C, H, W) with weights (N, 1, H, W); 0 where all weights are."""
    weights = weights.expand_as(loss)
    return (loss * weights).sum() / weights.sum().clamp(min=1)


def build_heads(cfg: CfgNode, shapes: dict) -> dict[str, nn.Module]:
    """Both heads, of the keys that Detectron2's have; convolutions start small, as in the source.

    Args:
        cfg: changed in place.
        shapes: of the backbone's features.
    """
    cfg.MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV = True
    heads = {
        "sem_seg_head": OriginalSemSegHead(cfg, shapes),
        "ins_embed_head": OriginalInsEmbedHead(cfg, shapes),
    }
    options = (cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.INS_EMBED_HEAD)
    for head, keys in zip(heads.values(), options, strict=True):
        coarsest = head.in_features[-1]
        channels = shapes[coarsest].channels
        head.decoder[coarsest]["project_conv"] = aspp = ASPP(
            channels,
            keys.ASPP_CHANNELS,
            keys.ASPP_DILATIONS,
            norm=keys.NORM,
            activation=F.relu,
            dropout=keys.ASPP_DROPOUT,
        )
        aspp.convs[-1][1] = Conv2d(channels, keys.ASPP_CHANNELS, 1, bias=False, activation=F.relu)
    instances = heads["ins_embed_head"]
    keys, norm = cfg.MODEL.INS_EMBED_HEAD, cfg.MODEL.INS_EMBED_HEAD.NORM
    instances.center_head = DepthwiseSeparableConv2d(
        keys.CONVS_DIM,
        keys.HEAD_CHANNELS,
        kernel_size=5,
        padding=2,
        norm1=norm,
        activation1=F.relu,
        norm2=norm,
        activation2=F.relu,
    )
    for module in (m for head in heads.values() for m in head.modules()):
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.001)
    return heads
