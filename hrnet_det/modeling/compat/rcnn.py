"""Two-stage detectors that compute what the code base of their weights computes."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.structures import Boxes, Instances
from torch import Tensor

from hrnet_det.modeling.compat.boxes import FollowsConventions, clip_each
from hrnet_det.modeling.compat.initial import set_initial_values
from hrnet_det.modeling.compat.matching import (
    TakeoverMatcher,
    label_usable_anchors,
    sampled_share,
)
from hrnet_det.modeling.compat.scales import KnowsScale, postprocessed
from hrnet_det.modeling.meta_arch.htc import HTC

# What stands in the config for the detector, and what computes it here.
_PARTS = {
    "PROPOSAL_GENERATOR": {"RPN": "CompatRPN"},
    "ANCHOR_GENERATOR": {"DefaultAnchorGenerator": "CompatAnchorGenerator"},
    "ROI_HEADS": {
        "StandardROIHeads": "CompatROIHeads",
        "CascadeROIHeads": "CompatCascadeROIHeads",
        "ResamplingCascadeROIHeads": "CompatResamplingCascadeROIHeads",
        "HTCROIHeads": "CompatHTCROIHeads",
    },
}


@META_ARCH_REGISTRY.register()
class CompatRCNN(KnowsScale, FollowsConventions, GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN with the conventions of another code base (MODEL.CONVENTIONS).

    The config names Detectron2's RPN, anchors and ROI heads; their forms with those conventions
    take their places.

    Args: as KnowsScale's and Detectron2's.
    Input, output: as GeneralizedRCNN's.
    Raises: ValueError if the config names parts that have no form with other conventions.
    """

    @configurable
    def __init__(self, **others: object) -> None:
        super().__init__(**others)
        set_initial_values(self, self.conventions.training.initial_values)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict:
        cfg = cfg.clone()
        cfg.defrost()
        for group, names in _PARTS.items():
            name = cfg.MODEL[group].NAME
            if name not in names:
                raise ValueError(
                    f"MODEL.CONVENTIONS {cfg.MODEL.CONVENTIONS}: MODEL.{group}.NAME {name!r} has "
                    f"no such form; {' or '.join(names)} has. Take it, or MODEL.CONVENTIONS "
                    "detectron2"
                )
            cfg.MODEL[group].NAME = names[name]
        return super().from_config(cfg)

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list:
        results = super().inference(batched_inputs, detected_instances, do_postprocess=False)
        if not do_postprocess:
            return results
        return postprocessed(results, batched_inputs, self.conventions)


@META_ARCH_REGISTRY.register()
class CompatHTC(CompatRCNN, HTC):
    """HTC with the conventions of another code base, its semantic branch in training as HTC's."""


@PROPOSAL_GENERATOR_REGISTRY.register()
class CompatRPN(FollowsConventions, RPN):
    """Detectron2's RPN with another code base's box coder, clipping and training."""

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super().from_config(cfg, input_shape)
        rules, options = parts["conventions"].training, cfg.MODEL.RPN
        if rules.takes_over:
            parts["anchor_matcher"] = TakeoverMatcher(
                options.IOU_THRESHOLDS, options.IOU_LABELS, rules.rpn_least_iou
            )
        return parts

    def label_and_sample_anchors(
        self, anchors: list[Boxes], gt_instances: list[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        rules = self.conventions.training
        if not rules.drops_anchors_first:
            return super().label_and_sample_anchors(anchors, gt_instances)
        return label_usable_anchors(self, anchors, gt_instances, closed=rules.closed_boxes)

    def losses(
        self,
        anchors: list[Boxes],
        logits: list[Tensor],
        labels: list[Tensor],
        deltas: list[Tensor],
        boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        losses = super().losses(anchors, logits, labels, deltas, boxes)
        if not self.conventions.training.divides_by_sampled:
            return losses
        share = sampled_share(labels, self.batch_size_per_image)
        return {name: loss / share for name, loss in losses.items()}

    @torch.no_grad()  # as Detectron2: proposals are fixed for the heads
    def predict_proposals(
        self, anchors: list[Boxes], logits: list[Tensor], deltas: list[Tensor], sizes: list[tuple]
    ) -> list[Instances]:
        levels = self._decode_proposals(anchors, deltas)
        return find_top_rpn_proposals(
            [torch.stack(clip_each(level, sizes, self.conventions)) for level in levels],
            logits,
            sizes,
            self.nms_thresh,
            self.pre_nms_topk[self.training],
            self.post_nms_topk[self.training],
            self.min_box_size,
            self.training,
        )
