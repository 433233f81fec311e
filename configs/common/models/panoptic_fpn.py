"""Panoptic FPN, with the settings of Detectron2's baselines."""

from detectron2 import model_zoo

from .hrnetv2p import on_hrnetv2p

model = on_hrnetv2p(model_zoo.get_config("common/models/panoptic_fpn.py").model)
for shape in model.sem_seg_head.input_shape.values():
    shape.channels = 256
