"""Hybrid Task Cascade with its semantic branch, of 183 classes."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.poolers import ROIPooler

from hrnet_det.modeling.meta_arch.htc import HTC
from hrnet_det.modeling.roi_heads.htc import HTCROIHeads
from hrnet_det.modeling.roi_heads.htc_layers import (
    FusedSemanticHead,
    HTCMaskHead,
    HTCMaskHeads,
    SemanticPooler,
)

from .cascade_mask_rcnn import model

LEVELS = {"p2": 4, "p3": 8, "p4": 16, "p5": 32, "p6": 64}
heads = model.roi_heads
embedding = L(ROIPooler)(
    output_size=14, scales=(1 / 8,), sampling_ratio=0, pooler_type="ROIAlignV2"
)
shape = ShapeSpec(channels=256, width=14, height=14)
stages = [
    L(HTCMaskHead)(
        input_shape=shape,
        num_classes="${....num_classes}",
        conv_dims=[256] * 5,
        takes_previous=stage > 0,
    )
    for stage in range(3)
]
model._target_ = HTC
heads.update(
    _target_=HTCROIHeads,
    semantic_head=L(FusedSemanticHead)(
        input_shape={k: L(ShapeSpec)(channels=256, stride=s) for k, s in LEVELS.items()},
        num_classes=183,
        conv_dim=256,
    ),
    box_in_features=["p2", "p3", "p4", "p5", "semantic"],
    mask_in_features=["p2", "p3", "p4", "p5", "semantic"],
    box_pooler=L(SemanticPooler)(pyramid=heads.box_pooler, embedding=embedding),
    mask_pooler=L(SemanticPooler)(pyramid=heads.mask_pooler, embedding=embedding),
    mask_head=L(HTCMaskHeads)(modules=stages),
)
for predictor in heads.box_predictors:
    predictor.test_score_thresh = 0.001  # published
