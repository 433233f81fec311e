"""FCOS on levels p3..p7, as mmdetection and HRNet's authors publish it."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling.box_regression import Box2BoxTransformLinear

from hrnet_det.modeling.compat.conventions import Conventions
from hrnet_det.modeling.meta_arch.fcos import FCOS, FCOSHead

from .hrnetv2p import PIXELS, backbone

backbone.min_level = 3
model = L(FCOS)(
    conventions=L(Conventions)(),
    backbone=backbone,
    head=L(FCOSHead)(
        input_shape=[ShapeSpec(channels=256)] * 5,
        conv_dims=[256] * 4,
        num_classes="${..num_classes}",
        norm="GN",
        conv_bias=False,
        prior_prob=0.01,
    ),
    head_in_features=["p3", "p4", "p5", "p6", "p7"],
    box2box_transform=L(Box2BoxTransformLinear)(normalize_by_size=False),
    num_classes=80,
    center_sampling_radius=1.5,
    box_loss="giou",
    normalizer="moving_average",
    test_sides=(800, 1333),
    test_score_thresh=0.05,
    test_topk_candidates=1000,
    test_nms_thresh=0.5,
    max_detections_per_image=100,
    **PIXELS,
)
