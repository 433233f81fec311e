"""Faster R-CNN on the finest branch alone: one map of stride 4 with all anchors."""

from detectron2.config import LazyCall as L

from hrnet_det.modeling import HRNet, HRNetV1

from .faster_rcnn import model

model.backbone = L(HRNetV1)(
    bottom_up=L(HRNet)(variant="w32", norm="BN", norm_eval=True, out_features=["hr2"])
)
rpn, heads = model.proposal_generator, model.roi_heads
rpn.in_features = heads.box_in_features = ["hr2"]
rpn.head.update(in_channels=32, num_anchors=15, conv_dims=[256])
rpn.anchor_generator.update(sizes=[[32, 64, 128, 256, 512]], strides=[4])
rpn.pre_nms_topk = (10000, 5000)
heads.box_pooler.scales = (1 / 4,)
heads.box_head.input_shape.channels = 32
