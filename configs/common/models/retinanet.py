"""RetinaNet on levels p3..p7, with the settings of Detectron2's baselines."""

from detectron2 import model_zoo

from .hrnetv2p import on_hrnetv2p

model = on_hrnetv2p(model_zoo.get_config("common/models/retinanet.py").model)
model.backbone.min_level = 3
