"""The RoI heads of Hybrid Task Cascade, with a semantic branch beside them."""

from __future__ import annotations

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import ImageList
from torch import Tensor

from hrnet_det.modeling.roi_heads.cascade import Batch, Features, ResamplingCascadeROIHeads
from hrnet_det.modeling.roi_heads.htc_layers import (
    FusedSemanticHead,
    HTCMaskHead,
    HTCMaskHeads,
    SemanticPooler,
)

EMBEDDING = "semantic"  # its name among the features


@ROI_HEADS_REGISTRY.register()
class HTCROIHeads(ResamplingCascadeROIHeads):
    """Cascade Mask R-CNN's heads, linked with one another and with a semantic branch.

    Source: arXiv:1901.07518 and HybridTaskCascadeRoIHead of mmdetection.

    - Interleaved: in training a stage's mask head learns from the boxes that its box head has just
      refined, matched and sampled once more; from these the next stage goes on.
    - Information flow: a mask head takes the features of the mask head before it (HTCMaskHead).
    - Semantic branch: the embedding that segments the image (FusedSemanticHead) is added to the
      pooled features of boxes and masks (SemanticPooler).

    Args:
        semantic_head: None for no semantic branch; with one, poolers take the embedding, and
            "semantic" is last among the features.
        others: as ResamplingCascadeROIHeads, mask_head HTCMaskHeads.
    Losses: those of ResamplingCascadeROIHeads, and loss_sem_seg.
    """

    interleaved = True

    @configurable
    def __init__(self, *, semantic_head: FusedSemanticHead | None = None, **others: object) -> None:
        super().__init__(**others)
        self.semantic_head = semantic_head

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict:
        parts = super().from_config(cfg, input_shape)
        if not cfg.MODEL.HTC.SEMANTIC_ON:
            return parts
        parts["semantic_head"] = cls._semantic_head(cfg, input_shape)
        pooler = cls._embedding_pooler(cfg, parts["semantic_head"].stride)
        for task in ("box", "mask") if cfg.MODEL.MASK_ON else ("box",):
            parts[f"{task}_in_features"] = [*parts[f"{task}_in_features"], EMBEDDING]
            parts[f"{task}_pooler"] = SemanticPooler(parts[f"{task}_pooler"], pooler)
        return parts

    @classmethod
    def _semantic_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> FusedSemanticHead:
        return FusedSemanticHead(cfg, input_shape)

    @classmethod
    def _embedding_pooler(cls, cfg: CfgNode, stride: int) -> ROIPooler:
        options = cfg.MODEL.ROI_MASK_HEAD
        side, samples = options.POOLER_RESOLUTION, options.POOLER_SAMPLING_RATIO
        return ROIPooler(side, (1 / stride,), samples, options.POOLER_TYPE)

    @classmethod
    def _mask_heads(cls, cfg: CfgNode, shape: ShapeSpec, stages: int) -> HTCMaskHeads:
        return HTCMaskHeads(
            HTCMaskHead(cfg, shape, takes_previous=stage > 0) for stage in range(stages)
        )

    def forward(
        self, images: ImageList, features: Features, proposals: Batch, targets: Batch | None = None
    ) -> tuple[Batch, dict[str, Tensor]]:
        losses = {}
        if self.training and self.semantic_head is not None:
            logits, embedding = self.semantic_head(features)
            if not hasattr(images, "sem_seg"):
                raise ValueError(
                    "HTCROIHeads: the semantic branch learns from labels that "
                    "MODEL.META_ARCHITECTURE HTC hands on; set it, or MODEL.HTC.SEMANTIC_ON False"
                )
            losses = self.semantic_head.losses(logits, images.sem_seg)
            features = {**features, EMBEDDING: embedding}
        features = self.with_embedding(features)
        found, others = super().forward(images, features, proposals, targets)
        return found, {**losses, **others}

    def forward_with_given_boxes(self, features: Features, instances: Batch) -> Batch:
        return super().forward_with_given_boxes(self.with_embedding(features), instances)

    def with_embedding(self, features: Features) -> Features:
        """The features, and the semantic embedding if there is one and it is not among them."""
        if self.semantic_head is None or EMBEDDING in features:
            return features
        return {**features, EMBEDDING: self.semantic_head(features)[1]}
