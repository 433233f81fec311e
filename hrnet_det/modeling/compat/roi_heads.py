"""ROI heads that compute what the code base of their weights computes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNOutputLayers, StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from hrnet_det.modeling.compat.boxes import FollowsConventions, box_transform, clip_each, scaled
from hrnet_det.modeling.compat.conventions import Conventions, get_conventions
from hrnet_det.modeling.compat.masks import masks_to_learn
from hrnet_det.modeling.compat.matching import TakeoverMatcher, match_then_add_objects
from hrnet_det.modeling.compat.suppression import soft_nms_inference
from hrnet_det.modeling.roi_heads.cascade import Batch, Features, ResamplingCascadeROIHeads
from hrnet_det.modeling.roi_heads.htc import HTCROIHeads
from hrnet_det.modeling.roi_heads.htc_layers import FusedSemanticHead


class CompatROIAlign(nn.Module):
    """RoIAlign with a map's values at the corners of their cells, from half-open boxes.

    Args:
        plain: the RoIAlign whose place it takes.
        closed: False: as Detectron2's with boxes moved by half a cell, which may be as small as
            they like. True: the boxes end at their last pixel, and are at least a cell wide.
    """

    def __init__(self, plain: ROIAlign, *, closed: bool) -> None:
        super().__init__()
        self.plain = ROIAlign(
            plain.output_size, plain.spatial_scale, plain.sampling_ratio, aligned=not closed
        )
        half_cell = 0.5 / plain.spatial_scale
        self.shift = (0, 0, 0, -1, -1) if closed else (0, *[half_cell] * 4)  # of (image, *box)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return self.plain(input, rois + rois.new_tensor(self.shift))


def with_roi_align(pooler: ROIPooler, conventions: Conventions) -> ROIPooler:
    """The pooler, with the code base's RoIAlign at every level."""
    if conventions.roi_align != "centre":
        closed = conventions.roi_align == "corner_closed"
        pooler.level_poolers = nn.ModuleList(
            CompatROIAlign(level, closed=closed) for level in pooler.level_poolers
        )
    return pooler


class CompatOutputLayers(FollowsConventions, FastRCNNOutputLayers):
    """Detectron2's output layers with another code base's clipping and suppression.

    Args:
        soft_nms: overlapping boxes lose score (`soft_nms_inference`) in place of being dropped.
    """

    @configurable
    def __init__(self, *shapes: object, soft_nms: bool = False, **others: object) -> None:
        super().__init__(*shapes, **others)
        self.select = soft_nms_inference if soft_nms else fast_rcnn_inference

    @classmethod
    def from_config(cls, cfg: CfgNode, *shapes: object, **given: object) -> dict:
        parts = super().from_config(cfg, *shapes, **given)
        return {**parts, "soft_nms": cfg.MODEL.ROI_HEADS.SOFT_NMS}

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: Batch
    ) -> tuple[Batch, list[Tensor]]:
        rules = self.conventions
        sizes = [p.image_size for p in proposals]
        boxes = clip_each(self.predict_boxes(predictions, proposals), sizes, rules)
        if rules.nms_in_original:
            boxes = [
                scaled(b, torch.div, size.scale, rules)
                for b, size in zip(boxes, sizes, strict=True)
            ]
        detections, kept = self.select(
            boxes,
            self.predict_probs(predictions, proposals),
            [(math.inf, math.inf)] * len(sizes),  # they are clipped
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )
        results = []
        for found, size in zip(detections, sizes, strict=True):
            result = Instances(size, **found.get_fields())
            if rules.nms_in_original:
                resized = scaled(result.pred_boxes.tensor, torch.mul, size.scale, rules)
                result.pred_boxes = Boxes(resized)
            results.append(result)
        return results, kept


class _CompatHeads(FollowsConventions):
    """RoI heads whose poolers have the code base's RoIAlign, and that learn as it does."""

    # Whether masks are padded with the images: those of HTC are not.
    pads_masks = True

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super().from_config(cfg, input_shape)
        for part in parts.values():
            if isinstance(part, ROIPooler):
                with_roi_align(part, parts["conventions"])
        if "proposal_matcher" in parts:  # a cascade has one for each stage
            thresholds, labels = cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS, cfg.MODEL.ROI_HEADS.IOU_LABELS
            parts["proposal_matcher"] = _matcher(cfg, thresholds, labels)
        return parts

    def forward(
        self, images: ImageList, features: Features, proposals: Batch, targets: Batch | None = None
    ) -> tuple[Batch, dict[str, Tensor]]:
        return super().forward(images, features, proposals, self._learnt(images, targets))

    def _learnt(self, images: ImageList, targets: Batch | None) -> Batch | None:
        """Objects with masks as the code base's mask heads learn them."""
        if not self.training or targets is None:
            return targets
        size = tuple(images.tensor.shape[-2:]) if self.pads_masks else None
        return [masks_to_learn(t, self.conventions.training, size) for t in targets]

    def label_and_sample_proposals(self, proposals: Batch, targets: Batch) -> Batch:
        if not self.conventions.training.adds_objects_matched:
            return super().label_and_sample_proposals(proposals, targets)
        return match_then_add_objects(self, proposals, targets)


def _matcher(cfg: CfgNode, thresholds: Sequence[float], labels: Sequence[int]) -> Matcher:
    """Of boxes with objects; MODEL.ROI_HEADS.LOW_QUALITY_MATCHES count from the threshold on."""
    choice = cfg.MODEL.ROI_HEADS.LOW_QUALITY_MATCHES
    if choice == "always" or (choice == "with_masks" and cfg.MODEL.MASK_ON):
        return TakeoverMatcher(thresholds, labels, thresholds[-1])
    return Matcher(list(thresholds), list(labels))


@ROI_HEADS_REGISTRY.register()
class CompatROIHeads(_CompatHeads, StandardROIHeads):
    """Detectron2's StandardROIHeads with the conventions that MODEL.CONVENTIONS names."""

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super()._init_box_head(cfg, input_shape)
        parts["box_predictor"] = CompatOutputLayers(cfg, parts["box_head"].output_shape)
        return parts


@ROI_HEADS_REGISTRY.register()
class CompatCascadeROIHeads(_CompatHeads, CascadeROIHeads):
    """Detectron2's CascadeROIHeads with the conventions that MODEL.CONVENTIONS names."""

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super()._init_box_head(cfg, input_shape)
        conventions = get_conventions(cfg.MODEL.CONVENTIONS)
        weights = cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS
        coders = [box_transform(stage, conventions) for stage in weights]
        ious = cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS
        parts["proposal_matchers"] = [_matcher(cfg, [iou], [0, 1]) for iou in ious]
        parts["box_predictors"] = [
            CompatOutputLayers(cfg, head.output_shape, box2box_transform=coder)
            for head, coder in zip(parts["box_heads"], coders, strict=True)
        ]
        return parts

    def _forward_box(
        self, features: Features, proposals: Batch, targets: Batch | None = None
    ) -> object:
        if self.training or not self.conventions.averages_logits:
            return super()._forward_box(features, proposals, targets)
        maps = [features[name] for name in self.box_in_features]
        sizes = [p.image_size for p in proposals]
        logits, boxes = [], None
        for k, predictor in enumerate(self.box_predictor):
            if boxes is not None:
                proposals = self._create_proposals_from_boxes(boxes, sizes)
            scores, deltas = self._run_stage(maps, proposals, k)
            boxes = predictor.predict_boxes((scores, deltas), proposals)
            logits.append(scores)
        mean = torch.stack(logits).mean(dim=0)
        return predictor.inference((mean, deltas), proposals)[0]

    def _create_proposals_from_boxes(
        self, boxes: list[Tensor], image_sizes: list[tuple[int, int]]
    ) -> Batch:
        clipped = clip_each(boxes, image_sizes, self.conventions)
        if not self.conventions.training.keeps_empty_boxes:
            return super()._create_proposals_from_boxes(clipped, image_sizes)
        pairs = zip(clipped, image_sizes, strict=True)
        return [Instances(size, proposal_boxes=Boxes(b.detach())) for b, size in pairs]


@ROI_HEADS_REGISTRY.register()
class CompatResamplingCascadeROIHeads(ResamplingCascadeROIHeads, CompatCascadeROIHeads):
    """ResamplingCascadeROIHeads with the conventions that MODEL.CONVENTIONS names."""

    def forward(
        self, images: ImageList, features: Features, proposals: Batch, targets: Batch | None = None
    ) -> tuple[Batch, dict[str, Tensor]]:
        return super().forward(images, features, proposals, self._learnt(images, targets))


@ROI_HEADS_REGISTRY.register()
class CompatHTCROIHeads(HTCROIHeads, CompatResamplingCascadeROIHeads):
    """HTCROIHeads with the conventions that MODEL.CONVENTIONS names."""

    pads_masks = False

    @classmethod
    def _semantic_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> FusedSemanticHead:
        rules = get_conventions(cfg.MODEL.CONVENTIONS).training
        return FusedSemanticHead(
            cfg, input_shape, mean_of=rules.semantic_mean, padding_label=rules.semantic_padding
        )

    @classmethod
    def _embedding_pooler(cls, cfg: CfgNode, stride: int) -> ROIPooler:
        pooler = super()._embedding_pooler(cfg, stride)
        return with_roi_align(pooler, get_conventions(cfg.MODEL.CONVENTIONS))
