"""Hybrid Task Cascade: boxes and masks refined in turn, with a semantic branch beside them."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import META_ARCH_REGISTRY, ROI_HEADS_REGISTRY, GeneralizedRCNN
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.roi_heads import CascadeROIHeads, select_foreground_proposals
from detectron2.structures import ImageList, Instances
from detectron2.utils.events import get_event_storage
from torch import Tensor

from hrnet_det.modeling.htc_heads import (
    FusedSemanticHead,
    HTCMaskHead,
    HTCMaskHeads,
    SemanticPooler,
)
from hrnet_det.modeling.semantics import get_semantics
from hrnet_det.modeling.source_heads import SourceCascadeROIHeads, with_poolers

EMBEDDING = "semantic"  # its name among the features


@META_ARCH_REGISTRY.register()
class HTC(GeneralizedRCNN):
    """Detectron2's GeneralizedRCNN, which gives HTCROIHeads the pictures' semantic labels.

    Input:  as GeneralizedRCNN's; in training with "sem_seg" (H, W) int64 in every row, as
        Detectron2's DatasetMapper makes it, where the semantic branch is on.
    Output: as GeneralizedRCNN's.
    """

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        images = super().preprocess_image(batched_inputs)
        head = getattr(self.roi_heads, "semantic_head", None)
        if self.training and head is not None:
            images.sem_seg = self._labels(batched_inputs, head.ignore_value)
        return images

    def _labels(self, rows: list[dict], ignore_value: int) -> Tensor:
        """(N, H, W), padded as the pictures are."""
        missing = sum("sem_seg" not in row for row in rows)
        if missing:
            raise ValueError(
                f"HTC: {missing} of {len(rows)} pictures have no semantic labels (sem_seg), which "
                "its semantic branch learns from. Train on a data set that has them, such as "
                "coco_2017_train_panoptic_separated, or set MODEL.HTC.SEMANTIC_ON False"
            )
        return ImageList.from_tensors(
            [row["sem_seg"].to(self.device) for row in rows],
            self.backbone.size_divisibility,
            ignore_value,
            self.backbone.padding_constraints,
        ).tensor


@ROI_HEADS_REGISTRY.register()
class HTCROIHeads(CascadeROIHeads):
    """Cascade R-CNN's heads with a mask head in every stage, and a semantic branch.

    Source: arXiv:1901.07518 and HybridTaskCascadeRoIHead of mmdetection.

    - Interleaved: in training a stage's mask head learns from the boxes that its box head has just
      refined; from these the next stage goes on. Each time they are matched with the objects by
      the stage's IoU, the objects' own boxes are added, and a part is sampled.
    - Information flow: a mask head takes the features of the mask head before it (HTCMaskHead).
    - Semantic branch: the embedding that segments the picture (FusedSemanticHead) is added to the
      pooled features of boxes and masks (SemanticPooler).
    - In inference the final boxes' masks are the mean of the mask heads' probabilities.

    Args:
        stage_loss_weights: of the losses of each stage.
        semantic_head: None for no semantic branch.
        others: as Detectron2's CascadeROIHeads; with a semantic_head, poolers that take the
            embedding, and "semantic" last among the features.
    Losses: loss_cls_stage{k}, loss_box_reg_stage{k}, loss_mask_stage{k}, loss_sem_seg.
    Raises: ValueError if there is not one weight for each stage, MODEL.ROI_MASK_HEAD.NAME is of
        another mask head, or keypoints are asked for.
    Differs from source: the losses of boxes are those that Detectron2's keys choose.
    """

    @configurable
    def __init__(
        self,
        *,
        stage_loss_weights: Sequence[float],
        semantic_head: FusedSemanticHead | None = None,
        **others: object,
    ) -> None:
        super().__init__(**others)
        if len(stage_loss_weights) != self.num_cascade_stages:
            raise ValueError(
                f"MODEL.HTC.STAGE_LOSS_WEIGHTS {list(stage_loss_weights)}: one for each of the "
                f"{self.num_cascade_stages} stages (MODEL.ROI_BOX_CASCADE_HEAD.IOUS)"
            )
        self.stage_loss_weights = tuple(stage_loss_weights)
        self.semantic_head = semantic_head

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        if cfg.MODEL.KEYPOINT_ON:
            raise ValueError("HTCROIHeads have no keypoint head: set MODEL.KEYPOINT_ON False")
        parts = super().from_config(cfg, input_shape)
        parts["stage_loss_weights"] = cfg.MODEL.HTC.STAGE_LOSS_WEIGHTS
        if not cfg.MODEL.HTC.SEMANTIC_ON:
            return parts
        parts["semantic_head"] = FusedSemanticHead(cfg, input_shape)
        pooler = cls._embedding_pooler(cfg, parts["semantic_head"].stride)
        for task in ("box", "mask") if cfg.MODEL.MASK_ON else ("box",):
            parts[f"{task}_in_features"] = [*parts[f"{task}_in_features"], EMBEDDING]
            parts[f"{task}_pooler"] = SemanticPooler(parts[f"{task}_pooler"], pooler)
        return parts

    @classmethod
    def _embedding_pooler(cls, cfg: CfgNode, stride: int) -> ROIPooler:
        options = cfg.MODEL.ROI_MASK_HEAD
        return ROIPooler(
            output_size=options.POOLER_RESOLUTION,
            scales=(1 / stride,),
            sampling_ratio=options.POOLER_SAMPLING_RATIO,
            pooler_type=options.POOLER_TYPE,
        )

    @classmethod
    def _init_mask_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super()._init_mask_head(cfg, input_shape)
        if not parts:
            return parts
        options = cfg.MODEL.ROI_MASK_HEAD
        if options.NAME != "MaskRCNNConvUpsampleHead":
            raise ValueError(
                f"MODEL.ROI_MASK_HEAD.NAME {options.NAME!r}: HTCROIHeads have the form of "
                "MaskRCNNConvUpsampleHead that takes the features of the stage before"
            )
        side = options.POOLER_RESOLUTION
        channels = input_shape[parts["mask_in_features"][0]].channels
        shape = ShapeSpec(channels=channels, width=side, height=side)
        parts["mask_head"] = HTCMaskHeads(
            HTCMaskHead(cfg, shape, takes_previous=stage > 0)
            for stage in range(len(cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS))
        )
        return parts

    def forward(
        self,
        images: ImageList,
        features: dict[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        if not self.training:
            return super().forward(images, self.with_embedding(features), proposals)
        losses = {}
        if self.semantic_head is not None:
            logits, embedding = self.semantic_head(features)
            losses = self.semantic_head.losses(logits, _sem_seg(images))
            features = {**features, EMBEDDING: embedding}
        return proposals, {**losses, **self._stage_losses(features, proposals, targets)}

    def forward_with_given_boxes(
        self, features: dict[str, Tensor], instances: list[Instances]
    ) -> list[Instances]:
        return super().forward_with_given_boxes(self.with_embedding(features), instances)

    def with_embedding(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """The features, and the semantic embedding if there is one and it is not among them."""
        if self.semantic_head is None or EMBEDDING in features:
            return features
        return {**features, EMBEDDING: self.semantic_head(features)[1]}

    def _stage_losses(
        self, features: dict[str, Tensor], proposals: list[Instances], targets: list[Instances]
    ) -> dict[str, Tensor]:
        losses = {}
        maps = [features[name] for name in self.box_in_features]
        storage = get_event_storage()
        sizes = [p.image_size for p in proposals]
        boxes = [p.proposal_boxes.tensor for p in proposals]
        for stage, weight in enumerate(self.stage_loss_weights):
            with storage.name_scope(f"stage{stage}"):
                sampled = self._sample(boxes, sizes, targets, stage)
                predictor, outputs = (
                    self.box_predictor[stage],
                    self._run_stage(maps, sampled, stage),
                )
                of_stage = predictor.losses(outputs, sampled)
            refined = predictor.predict_boxes(outputs, sampled)
            # An object's own box comes in again when boxes are sampled.
            boxes = [b[p.objectness_logits == 0] for b, p in zip(refined, sampled, strict=True)]
            if self.mask_on:
                with storage.name_scope(f"stage{stage}/mask"):
                    sampled = self._sample(boxes, sizes, targets, stage)
                    of_stage |= self._mask_losses(features, sampled, stage)
            losses |= {f"{name}_stage{stage}": weight * x for name, x in of_stage.items()}
        return losses

    def _sample(
        self,
        boxes: list[Tensor],
        sizes: list[tuple[int, int]],
        targets: list[Instances],
        stage: int,
    ) -> list[Instances]:
        """Boxes and objects' own boxes to learn from, labelled by the stage's IoU.

        The first have an objectness logit of 0, the second ones Detectron2's larger one.
        """
        proposals = self._create_proposals_from_boxes(boxes, sizes)
        for p in proposals:
            p.objectness_logits = p.proposal_boxes.tensor.new_zeros(len(p))
        self.proposal_matcher = self.proposal_matchers[stage]
        return self.label_and_sample_proposals(proposals, targets)

    def _run_stage(
        self, features: list[Tensor], proposals: list[Instances], stage: int
    ) -> tuple[Tensor, Tensor]:
        """As Detectron2's without its scale of the gradients: here the losses have weights."""
        x = self.box_pooler(features, [p.proposal_boxes for p in proposals])
        return self.box_predictor[stage](self.box_head[stage](x))

    def _mask_losses(
        self, features: dict[str, Tensor], sampled: list[Instances], stage: int
    ) -> dict[str, Tensor]:
        objects, _ = select_foreground_proposals(sampled, self.num_classes)
        maps = [features[name] for name in self.mask_in_features]
        x = self.mask_pooler(maps, [p.proposal_boxes for p in objects])
        return self.mask_head.losses(x, objects, stage)


def _sem_seg(images: ImageList) -> Tensor:
    if not hasattr(images, "sem_seg"):
        raise ValueError(
            "HTCROIHeads: the semantic branch learns from labels that MODEL.META_ARCHITECTURE HTC "
            "hands on; set it, or MODEL.HTC.SEMANTIC_ON False"
        )
    return images.sem_seg


@ROI_HEADS_REGISTRY.register()
class SourceHTCROIHeads(HTCROIHeads, SourceCascadeROIHeads):
    """HTCROIHeads with the semantics that MODEL.SEMANTICS names."""

    @classmethod
    def _embedding_pooler(cls, cfg: CfgNode, stride: int) -> ROIPooler:
        pooler = super()._embedding_pooler(cfg, stride)
        return with_poolers({EMBEDDING: pooler}, get_semantics(cfg))[EMBEDDING]
