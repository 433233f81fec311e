"""Semantic segmentation by HRNetV2: all branches concatenated, two 1x1 convolutions."""

from detectron2.config import LazyCall as L
from detectron2.layers import ShapeSpec
from detectron2.modeling import SemanticSegmentor

from hrnet_det.modeling import HRNet, HRNetV2
from hrnet_det.modeling.meta_arch.semantic_seg import HRNetV2SemSegHead

from .hrnetv2p import PIXELS

# fmt: off
CLASS_WEIGHTS = [
    0.8373, 0.918, 0.866, 1.0345, 1.0166, 0.9969, 0.9754, 1.0489, 0.8786, 1.0023,
    0.9539, 0.9843, 1.1116, 0.9037, 1.0865, 1.0955, 1.0865, 1.1529, 1.0507,
]  # of Cityscapes
# fmt: on
model = L(SemanticSegmentor)(
    backbone=L(HRNetV2)(bottom_up=L(HRNet)(variant="w48", norm="SyncBN")),
    sem_seg_head=L(HRNetV2SemSegHead)(
        input_shape={"hrv2": L(ShapeSpec)(channels=15 * 48, stride=4)},
        num_classes=19,
        norm="SyncBN",
        class_weights=CLASS_WEIGHTS,
    ),
    **PIXELS,
)
