"""Two-stage detectors that compute what the code base of their weights computes."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, GeneralizedRCNN
from detectron2.modeling.proposal_generator import RPN
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor

from hrnet_det.modeling.compat.boxes import FollowsConventions, ImageSize, clip_each, scaled
from hrnet_det.modeling.compat.conventions import Conventions
from hrnet_det.modeling.compat.initial import set_initial_values
from hrnet_det.modeling.compat.masks import paste_masks
from hrnet_det.modeling.compat.matching import (
    TakeoverMatcher,
    label_usable_anchors,
    sampled_share,
)
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
class CompatRCNN(FollowsConventions, GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN with the conventions of another code base (MODEL.CONVENTIONS).

    The config names Detectron2's RPN, anchors and ROI heads; their forms with those conventions
    take their places.

    Args:
        test_sides: shortest and largest longest side of a resized image, in pixels, from which
            a code base with one scale for both axes knows that scale.
        others: conventions, and as Detectron2's.
    Input, output: as GeneralizedRCNN's.
    Raises: ValueError if the config names parts that have no form with other conventions.
    """

    @configurable
    def __init__(self, *, test_sides: tuple[int, int], **others: object) -> None:
        super().__init__(**others)
        self.test_sides = test_sides
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
        sides = (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
        return {**super().from_config(cfg), "test_sides": sides}

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        images = super().preprocess_image(batched_inputs)
        images.image_sizes = [
            ImageSize(size, self._scale(size, _original_size(image, size)))
            for size, image in zip(images.image_sizes, batched_inputs, strict=True)
        ]
        return images

    def _scale(self, size: tuple[int, int], original: tuple[int, int]) -> tuple[float, float]:
        """(x, y): resized pixels per original pixel."""
        if self.conventions.one_scale and self.test_sides[0]:
            shortest, longest = self.test_sides
            scale = min(longest / max(original), shortest / min(original))
            if tuple(int(side * scale + 0.5) for side in original) == tuple(size):
                return scale, scale
        return size[1] / original[1], size[0] / original[0]

    def inference(
        self,
        batched_inputs: list[dict],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list:
        results = super().inference(batched_inputs, detected_instances, do_postprocess=False)
        if not do_postprocess:
            return results
        return [
            {"instances": postprocess(r, *_original_size(image, r.image_size), self.conventions)}
            for r, image in zip(results, batched_inputs, strict=True)
        ]


@META_ARCH_REGISTRY.register()
class CompatHTC(CompatRCNN, HTC):
    """HTC with the conventions of another code base, its semantic branch in training as HTC's."""


def _original_size(image: dict, size: tuple[int, int]) -> tuple[int, int]:
    return image.get("height", size[0]), image.get("width", size[1])


def postprocess(results: Instances, height: int, width: int, conventions: Conventions) -> Instances:
    """Detections of a resized image in the pixels of the original one.

    Args:
        results: of the ROI heads; unless their image_size is an ImageSize, the scale follows from
            it and the original image's height and width.
    Output: pred_boxes in original pixels, pred_masks (N, height, width) bool where there are
        masks, pred_keypoints as Detectron2's.
    """
    size = results.image_size
    scale = getattr(size, "scale", (size[1] / width, size[0] / height))
    results = Instances((height, width), **results.get_fields())
    results.pred_boxes = Boxes(scaled(results.pred_boxes.tensor, torch.div, scale, conventions))
    if not conventions.keeps_empty_boxes:
        results = results[results.pred_boxes.nonempty()]
    if results.has("pred_masks"):
        probabilities = results.pred_masks[:, 0]  # (N, 1, M, M) of the mask head
        results.pred_masks = paste_masks(
            probabilities, results.pred_boxes.tensor, height, width, conventions.mask_paste
        )
    if results.has("pred_keypoints"):
        results.pred_keypoints[:, :, 0] /= scale[0]
        results.pred_keypoints[:, :, 1] /= scale[1]
    return results


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
