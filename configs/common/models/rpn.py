"""The proposals alone."""

from detectron2.modeling import ProposalNetwork

from .mask_rcnn import model

for key in ("roi_heads", "input_format"):
    model.pop(key)
model._target_ = ProposalNetwork
model.proposal_generator.post_nms_topk = (1000, 2000)
