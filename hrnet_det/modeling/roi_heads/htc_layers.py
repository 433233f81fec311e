"""The parts of a Hybrid Task Cascade: semantic branch, fused RoI features, linked mask heads."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads.mask_head import MaskRCNNConvUpsampleHead
from detectron2.structures import Boxes
from fvcore.nn.weight_init import c2_msra_fill
from torch import Tensor, nn

from hrnet_det.modeling.backbone.hrnetv2 import resized
from hrnet_det.modeling.roi_heads.cascade import StageMaskHeads


class FusedSemanticHead(nn.Module):
    """Semantic segmentation of all pyramid levels together, and an embedding for the RoI heads.

    Source: arXiv:1901.07518 section 3.3 and FusedSemanticHead of mmdetection: every level is
    brought to the size of one by bilinear interpolation (align_corners=True), goes through a 1x1
    convolution of its own, and is added to the others; 3x3 convolutions follow, then a 1x1 one for
    the logits and one for the embedding. All but the logits have ReLUs.

    Args:
        input_shape: of pyramid levels with the same channels.
        num_classes: of pixels, from 0 on.
        conv_dim, num_convs: channels and number of the 3x3 convolutions.
        stride: of the level whose size the logits and the embedding have, in pixels.
        ignore_value: label of pixels that count for nothing.
        mean_of: what the loss is a mean over, the "labelled" cells (the paper's authors and
            mmdetection 1) or "all" cells (mmdetection 3), of which those without a label count 0.
        padding_label: of the pixels that pad the labels to the size of the batch; ignore_value if
            None. In mmdetection 1 it is 0, the first class.
    Input:  {level: (N, C, H/s, W/s)}, more levels than those of input_shape or not.
    Output: logits (N, num_classes, H/stride, W/stride), embedding (N, C, H/stride, W/stride).
    Raises: ValueError if no level has the stride, or the levels differ in their channels.
    Differs from source: the loss is 0 without any labelled cell. The embedding has the pyramid's
        channels.
    """

    @configurable
    def __init__(
        self,
        *,
        input_shape: dict[str, ShapeSpec],
        num_classes: int,
        conv_dim: int,
        num_convs: int = 4,
        stride: int = 8,
        ignore_value: int = 255,
        loss_weight: float = 0.2,
        mean_of: str = "labelled",
        padding_label: int | None = None,
    ) -> None:
        super().__init__()
        by_stride = {shape.stride: name for name, shape in input_shape.items()}
        if stride not in by_stride:
            raise ValueError(
                f"FusedSemanticHead: no level of stride {stride} "
                f"(MODEL.SEM_SEG_HEAD.COMMON_STRIDE); the strides are {sorted(by_stride)}"
            )
        widths = {shape.channels for shape in input_shape.values()}
        if len(widths) > 1:
            raise ValueError(f"FusedSemanticHead: levels of {sorted(widths)} channels, not of one")
        (channels,) = widths
        self.in_features = tuple(input_shape)
        self.target = by_stride[stride]
        self.stride = stride
        self.ignore_value = ignore_value
        self.loss_weight = loss_weight
        self.mean_of = mean_of
        self.padding_label = ignore_value if padding_label is None else padding_label
        self.lateral_convs = nn.ModuleList(_conv(channels, channels, 1) for _ in input_shape)
        self.convs = nn.ModuleList(
            _conv(conv_dim if k else channels, conv_dim, 3) for k in range(num_convs)
        )
        last = conv_dim if num_convs else channels
        self.embedding = _conv(last, channels, 1)
        self.predictor = Conv2d(last, num_classes, 1)
        c2_msra_fill(self.predictor)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        options = cfg.MODEL.SEM_SEG_HEAD
        return {
            "input_shape": {name: input_shape[name] for name in options.IN_FEATURES},
            "num_classes": options.NUM_CLASSES,
            "conv_dim": options.CONVS_DIM,
            "stride": options.COMMON_STRIDE,
            "ignore_value": options.IGNORE_VALUE,
            "loss_weight": options.LOSS_WEIGHT,
        }

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        size = features[self.target].shape[-2:]
        pairs = zip(self.lateral_convs, self.in_features, strict=True)
        x = sum(conv(resized(features[f], size, align_corners=True)) for conv, f in pairs)
        for conv in self.convs:
            x = conv(x)
        embedding = self.embedding(x)
        # In training autocast's 16 bits would lose parts of what RoIAlign sums up going backward.
        return self.predictor(x), embedding.float() if self.training else embedding

    def losses(self, logits: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Mean cross entropy of the cells; each has the first pixel's label of (N, H, W)."""
        targets = targets[:, :: self.stride, :: self.stride]
        options = {"reduction": "sum", "ignore_index": self.ignore_value}
        loss = F.cross_entropy(logits.float(), targets, **options)
        labelled = (targets != self.ignore_value).sum().clamp(min=1)
        cells = targets.numel() if self.mean_of == "all" else labelled
        return {"loss_sem_seg": self.loss_weight * loss / cells}


def _conv(channels: int, out_channels: int, side: int) -> Conv2d:
    """Convolution and ReLU."""
    conv = Conv2d(channels, out_channels, side, padding=side // 2, activation=F.relu)
    c2_msra_fill(conv)
    return conv


class SemanticPooler(nn.Module):
    """RoI features of the pyramid plus those of the semantic embedding.

    Source: arXiv:1901.07518 section 3.3; in mmdetection the embedding is pooled to one size for
    boxes and masks, and averaged to the smaller one of the boxes.

    Input:  levels of the pyramid and, last, the embedding, (N, C, H/s, W/s) each; boxes of each
        image, R in all.
    Output: (R, C, S, S), S the size that the pyramid is pooled to.
    """

    def __init__(self, pyramid: ROIPooler, embedding: ROIPooler) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.embedding = embedding

    def forward(self, x: list[Tensor], boxes: list[Boxes]) -> Tensor:
        *levels, embedding = x
        return self.joined(self.pyramid(levels, boxes), self.embedding([embedding], boxes))

    def joined(self, x: Tensor, embedding: Tensor) -> Tensor:
        """(R, C, S, S) of the two poolers' outputs."""
        size = [int(side) for side in x.shape[-2:]]  # in tracing, too, the same for all images
        if list(embedding.shape[-2:]) != size:
            embedding = F.adaptive_avg_pool2d(embedding, size)
        return x + embedding


class HTCMaskHead(MaskRCNNConvUpsampleHead):
    """Detectron2's mask head, which can take the features of the stage before (information flow).

    Source: arXiv:1901.07518 section 3.2: they are added through a 1x1 convolution with a ReLU.

    Args:
        takes_previous: whether there is a stage before.
        others: as Detectron2's MaskRCNNConvUpsampleHead.
    """

    @configurable
    def __init__(
        self, input_shape: ShapeSpec, *, takes_previous: bool = False, **others: object
    ) -> None:
        super().__init__(input_shape, **others)
        if takes_previous:
            self.conv_res = _conv(self.deconv.in_channels, input_shape.channels, 1)

    def features(self, x: Tensor, previous: Tensor | None = None) -> Tensor:
        """What the upsampling starts from, (R, C', S, S), as `previous` of the stage before is."""
        if previous is not None:
            x = x + self.conv_res(previous)
        for name, layer in self.named_children():
            if name.startswith("mask_fcn"):
                x = layer(x)
        return x

    def logits(self, features: Tensor) -> Tensor:
        """(R, classes, 2S, 2S) of `features`' output."""
        return self.predictor(self.deconv_relu(self.deconv(features)))

    def layers(self, x: Tensor) -> Tensor:
        return self.logits(self.features(x))


class HTCMaskHeads(StageMaskHeads):
    """A mask head for each stage, each of which takes the features of the one before.

    Source: arXiv:1901.07518 section 3.2.

    Args:
        heads: HTCMaskHead, all but the first with takes_previous.
    Input, output: as StageMaskHeads'; a loss's gradients reach the stages before it, too.
    """

    def features(self, x: Tensor) -> Iterator[Tensor]:
        """(R, C', S, S) of one stage after the other."""
        features = None
        for head in self:
            features = head.features(x, features)
            yield features

    def layers(self, x: Tensor) -> list[Tensor]:
        return [head.logits(y) for head, y in zip(self, self.features(x), strict=True)]

    def stage_logits(self, x: Tensor, stage: int) -> Tensor:
        """(R, classes, 2S, 2S) of one stage, without the logits of those before it."""
        return self[stage].logits(next(islice(self.features(x), stage, None)))
