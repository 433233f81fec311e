"""Cascade R-CNN: three stages, class-agnostic boxes."""

from detectron2 import model_zoo

from .hrnetv2p import on_hrnetv2p

model = on_hrnetv2p(model_zoo.get_config("common/models/cascade_rcnn.py").model)
model.proposal_generator.post_nms_topk = (2000, 1000)
for key in ("mask_in_features", "mask_pooler", "mask_head"):
    model.roi_heads.pop(key)
