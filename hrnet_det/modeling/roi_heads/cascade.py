"""Cascade R-CNN as it was published: samples, and a mask head, in every stage."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec, cat
from detectron2.modeling import ROI_HEADS_REGISTRY, build_mask_head
from detectron2.modeling.roi_heads import CascadeROIHeads, select_foreground_proposals
from detectron2.modeling.roi_heads.mask_head import mask_rcnn_loss
from detectron2.structures import ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

Features = dict[str, Tensor]  # maps (N, C, H/s, W/s) by their names
Batch = list[Instances]  # one of each image


class StageMaskHeads(nn.ModuleList):
    """A mask head for each stage of a cascade; in inference their masks are averaged.

    Args:
        heads: Detectron2's MaskRCNNConvUpsampleHead, all of one form.
    Input:  x (R, C, S, S), the pooled features; instances of R boxes with pred_classes.
    Output: the instances with pred_masks (R, 1, 2S, 2S), the mean of the heads' probabilities.
    """

    def forward(self, x: Tensor, instances: Batch) -> Batch:
        probabilities = torch.stack([logits.sigmoid() for logits in self.layers(x)]).mean(dim=0)
        classes = cat([found.pred_classes for found in instances])
        if probabilities.shape[1] > 1:
            boxes = torch.arange(len(classes), device=classes.device)
            probabilities = probabilities[boxes, classes][:, None]
        counts = [len(found) for found in instances]
        for found, masks in zip(instances, probabilities.split(counts), strict=True):
            found.pred_masks = masks
        return instances

    def layers(self, x: Tensor) -> list[Tensor]:
        """Each head's logits, (R, classes, 2S, 2S)."""
        return [head.layers(x) for head in self]

    def stage_logits(self, x: Tensor, stage: int) -> Tensor:
        """(R, classes, 2S, 2S) of one stage."""
        return self[stage].layers(x)

    def losses(self, x: Tensor, instances: Batch, stage: int) -> dict[str, Tensor]:
        """{"loss_mask": scalar} of one stage.

        Args:
            x: (R, C, S, S), pooled from the boxes of instances, which have gt_classes and gt_masks.
        """
        head = self[stage]
        loss = mask_rcnn_loss(self.stage_logits(x, stage), instances, head.vis_period)
        return {"loss_mask": loss * head.loss_weight}


def _check_stages(cfg: CfgNode) -> None:
    """Raises: ValueError for what Detectron2 refuses without saying why."""
    stages, heads = cfg.MODEL.ROI_BOX_CASCADE_HEAD, cfg.MODEL.ROI_HEADS
    if len(stages.IOUS) != len(stages.BBOX_REG_WEIGHTS):
        raise ValueError(
            f"MODEL.ROI_BOX_CASCADE_HEAD has {len(stages.IOUS)} IOUS, one for each stage, and "
            f"{len(stages.BBOX_REG_WEIGHTS)} BBOX_REG_WEIGHTS"
        )
    if stages.IOUS[0] != heads.IOU_THRESHOLDS[0]:
        raise ValueError(
            f"MODEL.ROI_BOX_CASCADE_HEAD.IOUS begin with {stages.IOUS[0]}, but "
            f"MODEL.ROI_HEADS.IOU_THRESHOLDS is {heads.IOU_THRESHOLDS}: the first stage has both"
        )
    if not cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG:
        raise ValueError(
            "a cascade's boxes are of no class: MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True"
        )


@ROI_HEADS_REGISTRY.register()
class ResamplingCascadeROIHeads(CascadeROIHeads):
    """Cascade R-CNN's heads as published, with samples and a mask head in every stage.

    Source: arXiv:1712.00726 and arXiv:1906.09756 section 6; CascadeRoIHead of mmdetection.

    - In training each stage matches the boxes of the one before with the objects by its own IoU,
      with the objects' own boxes added, and samples a part of them; box and mask head learn from
      these, with the stage's weight. (Detectron2's sample once, weigh all stages alike, and have
      one mask head, which learns from the proposals.)
    - In inference the final boxes' masks are the mean of the mask heads' probabilities.

    Args:
        stage_loss_weights: of the losses of each stage.
        others: as Detectron2's CascadeROIHeads; mask_head: StageMaskHeads.
    Losses: loss_cls_stage{k}, loss_box_reg_stage{k}, loss_mask_stage{k}.
    Raises: ValueError if the stages have not one IoU, box coder and weight each, boxes are of
        classes, MODEL.ROI_MASK_HEAD.NAME is of another form, or keypoints are asked for.
    Differs from source: the losses of boxes are those that Detectron2's keys choose.
    """

    # Whether mask heads learn from the boxes that their stage has refined, not from those it got.
    interleaved = False

    @configurable
    def __init__(self, *, stage_loss_weights: Sequence[float], **others: object) -> None:
        super().__init__(**others)
        if len(stage_loss_weights) != self.num_cascade_stages:
            raise ValueError(
                f"MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS {list(stage_loss_weights)}: one "
                f"for each of the {self.num_cascade_stages} stages "
                "(MODEL.ROI_BOX_CASCADE_HEAD.IOUS)"
            )
        self.stage_loss_weights = tuple(stage_loss_weights)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        if cfg.MODEL.KEYPOINT_ON:
            raise ValueError(f"{cls.__name__} have no keypoint head: set MODEL.KEYPOINT_ON False")
        _check_stages(cfg)
        weights = cfg.MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS
        return {**super().from_config(cfg, input_shape), "stage_loss_weights": weights}

    @classmethod
    def _init_mask_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super()._init_mask_head(cfg, input_shape)
        if not parts:
            return parts
        options = cfg.MODEL.ROI_MASK_HEAD
        if options.NAME != "MaskRCNNConvUpsampleHead":
            raise ValueError(
                f"MODEL.ROI_MASK_HEAD.NAME {options.NAME!r}: the mask heads of {cls.__name__} have "
                "the form of MaskRCNNConvUpsampleHead"
            )
        side = options.POOLER_RESOLUTION
        channels = input_shape[parts["mask_in_features"][0]].channels
        shape = ShapeSpec(channels=channels, width=side, height=side)
        heads = cls._mask_heads(cfg, shape, stages=len(cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS))
        return {**parts, "mask_head": heads}

    @classmethod
    def _mask_heads(cls, cfg: CfgNode, shape: ShapeSpec, stages: int) -> StageMaskHeads:
        return StageMaskHeads(build_mask_head(cfg, shape) for _ in range(stages))

    def forward(
        self, images: ImageList, features: Features, proposals: Batch, targets: Batch | None = None
    ) -> tuple[Batch, dict[str, Tensor]]:
        if not self.training:
            return super().forward(images, features, proposals)
        losses, storage = {}, get_event_storage()
        maps = [features[name] for name in self.box_in_features]
        sizes = [p.image_size for p in proposals]
        boxes = [p.proposal_boxes.tensor for p in proposals]
        for stage, weight in enumerate(self.stage_loss_weights):
            with storage.name_scope(f"stage{stage}"):
                sampled = self._sample(boxes, sizes, targets, stage)
                predictor = self.box_predictor[stage]
                outputs = self._run_stage(maps, sampled, stage)
                of_stage = predictor.losses(outputs, sampled)
            refined = predictor.predict_boxes(outputs, sampled)
            # An object's own box comes in again when boxes are sampled.
            boxes = [b[p.objectness_logits == 0] for b, p in zip(refined, sampled, strict=True)]
            if self.mask_on:
                with storage.name_scope(f"stage{stage}/mask"):
                    if self.interleaved:
                        sampled = self._sample(boxes, sizes, targets, stage)
                    of_stage |= self._mask_losses(features, sampled, stage)
            losses |= {f"{name}_stage{stage}": weight * x for name, x in of_stage.items()}
        return proposals, losses

    def _sample(
        self, boxes: list[Tensor], sizes: list[tuple[int, int]], targets: Batch, stage: int
    ) -> Batch:
        """Boxes (objectness logit 0) and objects' own (a larger one), labelled by the stage."""
        proposals = self._create_proposals_from_boxes(boxes, sizes)
        for p in proposals:
            p.objectness_logits = p.proposal_boxes.tensor.new_zeros(len(p))
        self.proposal_matcher = self.proposal_matchers[stage]
        return self.label_and_sample_proposals(proposals, targets)

    def _run_stage(
        self, features: list[Tensor], proposals: Batch, stage: int
    ) -> tuple[Tensor, Tensor]:
        """As Detectron2's without its scale of the gradients: here the losses have weights."""
        x = self.box_pooler(features, [p.proposal_boxes for p in proposals])
        return self.box_predictor[stage](self.box_head[stage](x))

    def _mask_losses(self, features: Features, sampled: Batch, stage: int) -> dict[str, Tensor]:
        objects, _ = select_foreground_proposals(sampled, self.num_classes)
        maps = [features[name] for name in self.mask_in_features]
        x = self.mask_pooler(maps, [p.proposal_boxes for p in objects])
        return self.mask_head.losses(x, objects, stage)
