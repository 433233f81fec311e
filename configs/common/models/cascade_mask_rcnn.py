"""Cascade Mask R-CNN: Cascade R-CNN with a mask head in every stage."""

from detectron2 import model_zoo
from detectron2.config import LazyCall as L

from hrnet_det.modeling.roi_heads.cascade import StageMaskHeads

from .cascade_rcnn import model

masks = model_zoo.get_config("common/models/cascade_rcnn.py").model.roi_heads
masks.mask_head.num_classes = "${....num_classes}"  # of roi_heads
model.roi_heads.update(
    mask_in_features=masks.mask_in_features,
    mask_pooler=masks.mask_pooler,
    mask_head=L(StageMaskHeads)(modules=[masks.mask_head] * 3),
)
