"""ROI heads that compute what the code base of their weights computes."""

from __future__ import annotations

import math

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ROIAlign, ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNOutputLayers, StandardROIHeads
from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from hrnet_det.modeling.compat.boxes import box_transform, clip_boxes, to_original, to_resized
from hrnet_det.modeling.compat.conventions import Conventions, get_conventions
from hrnet_det.modeling.roi_heads.cascade import ResamplingCascadeROIHeads
from hrnet_det.modeling.roi_heads.htc import EMBEDDING, HTCROIHeads


class CompatROIAlign(nn.Module):
    """RoIAlign with a map's values at the corners of their cells, from half-open boxes.

    Args:
        plain: the RoIAlign to take the place of: its output size, scale and sampling ratio.
        closed: False: as Detectron2's with boxes moved by half a cell, which may be as small as
            they like. True: the boxes end at their last pixel, and are at least a cell wide.
    """

    def __init__(self, plain: ROIAlign, *, closed: bool) -> None:
        super().__init__()
        self.plain = ROIAlign(
            plain.output_size, plain.spatial_scale, plain.sampling_ratio, aligned=not closed
        )
        half_cell = 0.5 / plain.spatial_scale
        # of (image, x1, y1, x2, y2)
        self.shift = (0, 0, 0, -1, -1) if closed else (0, *[half_cell] * 4)

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return self.plain(input, rois + rois.new_tensor(self.shift))


def with_poolers(parts: dict, conventions: Conventions) -> dict:
    """The arguments of ROI heads; their poolers with the code base's RoIAlign at every level."""
    if conventions.roi_align != "centre":
        closed = conventions.roi_align == "corner_closed"
        for pooler in (part for part in parts.values() if isinstance(part, ROIPooler)):
            pooler.level_poolers = nn.ModuleList(
                CompatROIAlign(level, closed=closed) for level in pooler.level_poolers
            )
    return parts


class CompatOutputLayers(FastRCNNOutputLayers):
    """Detectron2's output layers with another code base's clipping and suppression.

    Args:
        conventions: a row of `conventions.CONVENTIONS`.
        others: as Detectron2's FastRCNNOutputLayers.
    """

    @configurable
    def __init__(
        self, input_shape: ShapeSpec, *, conventions: Conventions, **others: object
    ) -> None:
        super().__init__(input_shape, **others)
        self.conventions = conventions

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict:
        conventions = get_conventions(cfg)
        return {
            **super().from_config(cfg, input_shape),
            "conventions": conventions,
            "box2box_transform": box_transform(
                cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS, conventions
            ),
        }

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: list[Instances]
    ) -> tuple[list[Instances], list[Tensor]]:
        sizes = [p.image_size for p in proposals]
        boxes = [
            clip_boxes(b, size, self.conventions)
            for b, size in zip(self.predict_boxes(predictions, proposals), sizes, strict=True)
        ]
        if self.conventions.nms_in_original:
            boxes = [
                to_original(b, size.scale, self.conventions)
                for b, size in zip(boxes, sizes, strict=True)
            ]
        detections, kept = fast_rcnn_inference(
            boxes,
            self.predict_probs(predictions, proposals),
            [(math.inf, math.inf)] * len(sizes),  # they are clipped
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )
        detections = [
            Instances(size, **found.get_fields())
            for found, size in zip(detections, sizes, strict=True)
        ]
        if self.conventions.nms_in_original:
            for found in detections:
                tensor = found.pred_boxes.tensor
                scale = found.image_size.scale
                found.pred_boxes = Boxes(to_resized(tensor, scale, self.conventions))
        return detections, kept


@ROI_HEADS_REGISTRY.register()
class CompatROIHeads(StandardROIHeads):
    """Detectron2's StandardROIHeads with the conventions that MODEL.CONVENTIONS names."""

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        return with_poolers(super().from_config(cfg, input_shape), get_conventions(cfg))

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super()._init_box_head(cfg, input_shape)
        parts["box_predictor"] = CompatOutputLayers(cfg, parts["box_head"].output_shape)
        return parts


@ROI_HEADS_REGISTRY.register()
class CompatCascadeROIHeads(CascadeROIHeads):
    """Detectron2's CascadeROIHeads with the conventions that MODEL.CONVENTIONS names.

    Args:
        conventions: a row of `conventions.CONVENTIONS`.
        others: as Detectron2's CascadeROIHeads.
    """

    @configurable
    def __init__(self, *, conventions: Conventions, **others: object) -> None:
        super().__init__(**others)
        self.conventions = conventions

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        conventions = get_conventions(cfg)
        parts = with_poolers(super().from_config(cfg, input_shape), conventions)
        return {**parts, "conventions": conventions}

    @classmethod
    def _init_box_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super()._init_box_head(cfg, input_shape)
        conventions = get_conventions(cfg)
        weights = cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS
        parts["box_predictors"] = [
            CompatOutputLayers(
                cfg, head.output_shape, box2box_transform=box_transform(stage, conventions)
            )
            for head, stage in zip(parts["box_heads"], weights, strict=True)
        ]
        return parts

    def _forward_box(
        self,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
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
    ) -> list[Instances]:
        clipped = [
            clip_boxes(b, size, self.conventions)
            for b, size in zip(boxes, image_sizes, strict=True)
        ]
        return super()._create_proposals_from_boxes(clipped, image_sizes)


@ROI_HEADS_REGISTRY.register()
class CompatResamplingCascadeROIHeads(ResamplingCascadeROIHeads, CompatCascadeROIHeads):
    """ResamplingCascadeROIHeads with the conventions that MODEL.CONVENTIONS names."""


@ROI_HEADS_REGISTRY.register()
class CompatHTCROIHeads(HTCROIHeads, CompatCascadeROIHeads):
    """HTCROIHeads with the conventions that MODEL.CONVENTIONS names."""

    @classmethod
    def _embedding_pooler(cls, cfg: CfgNode, stride: int) -> ROIPooler:
        pooler = super()._embedding_pooler(cfg, stride)
        return with_poolers({EMBEDDING: pooler}, get_conventions(cfg))[EMBEDDING]
