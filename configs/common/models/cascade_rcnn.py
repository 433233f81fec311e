"""Cascade R-CNN: three stages, each with samples of its own; class-agnostic boxes."""

from detectron2 import model_zoo

from hrnet_det.modeling.roi_heads.cascade import ResamplingCascadeROIHeads

from .hrnetv2p import on_hrnetv2p

model = on_hrnetv2p(model_zoo.get_config("common/models/cascade_rcnn.py").model)
model.proposal_generator.post_nms_topk = (2000, 1000)
model.roi_heads.update(_target_=ResamplingCascadeROIHeads, stage_loss_weights=[1.0, 0.5, 0.25])
for key in ("mask_in_features", "mask_pooler", "mask_head"):
    model.roi_heads.pop(key)
