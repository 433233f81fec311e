"""Cascade Mask R-CNN: three stages, class-agnostic boxes, one mask head."""

from detectron2 import model_zoo

from .hrnetv2p import on_hrnetv2p

model = on_hrnetv2p(model_zoo.get_config("common/models/cascade_rcnn.py").model)
model.proposal_generator.post_nms_topk = (2000, 1000)
