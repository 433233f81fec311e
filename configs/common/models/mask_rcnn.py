"""Mask R-CNN: Detectron2's FPN model on HRNetV2p."""

from detectron2 import model_zoo

from .hrnetv2p import on_hrnetv2p

model = on_hrnetv2p(model_zoo.get_config("common/models/mask_rcnn_fpn.py").model)
