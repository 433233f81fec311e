"""The rows of `recipe_rows` for the heads: RPN, RoI heads, masks, HTC's branch, FCOS."""

from __future__ import annotations

from collections.abc import Sequence

from detectron2.config import CfgNode

from tools.recipe_rows import Row, rules_of


def _beta(loss: object) -> float:
    """Of mmdetection's loss of boxes: where smooth L1 changes its form, 0 for plain L1."""
    return {"L1Loss": lambda: 0.0, "SmoothL1Loss": lambda: loss.beta}[loss.type]()


def _list(found: object) -> list:
    """Stages of a cascade, or the one of a plain head."""
    return list(found) if isinstance(found, Sequence) else [found]


def _weights(coder: object) -> list[float]:
    return [1 / deviation for deviation in coder.target_stds]


def _stages(config: object) -> list:
    return _list(config.model.train_cfg.rcnn)


def _heads(config: object) -> list:
    return _list(config.model.roi_head.bbox_head)


def _is_cascade(cfg: CfgNode) -> bool:
    return "Cascade" in cfg.MODEL.ROI_HEADS.NAME or cfg.MODEL.META_ARCHITECTURE == "HTC"


def _our_ious(cfg: CfgNode) -> Sequence[float]:
    return (
        cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS
        if _is_cascade(cfg)
        else cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS
    )


def _our_box_weights(cfg: CfgNode) -> Sequence:
    cascade = cfg.MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS
    return cascade if _is_cascade(cfg) else [cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS]


def _our_low_quality(cfg: CfgNode) -> bool:
    found = cfg.MODEL.ROI_HEADS.LOW_QUALITY_MATCHES
    return found == "always" or (found == "with_masks" and cfg.MODEL.MASK_ON)


def _topk(options: object) -> tuple:
    return (options.nms_pre, options.max_per_img, options.nms.iou_threshold)


RPN = (
    Row("anchors: sides on the levels",
        lambda c: [[s * stride for s in c.model.rpn_head.anchor_generator.scales]
                   for stride in c.model.rpn_head.anchor_generator.strides],
        lambda o: o.MODEL.ANCHOR_GENERATOR.SIZES),
    Row("anchors: ratios", lambda c: [c.model.rpn_head.anchor_generator.ratios],
        lambda o: o.MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS),
    Row("RPN: IoUs of background, objects",
        lambda c: (c.model.train_cfg.rpn.assigner.neg_iou_thr,
                   c.model.train_cfg.rpn.assigner.pos_iou_thr),
        lambda o: o.MODEL.RPN.IOU_THRESHOLDS),
    Row("RPN: least IoU of low-quality matches",
        lambda c: c.model.train_cfg.rpn.assigner.min_pos_iou, lambda o: rules_of(o).rpn_least_iou),
    Row("RPN: border that anchors may cross", lambda c: c.model.train_cfg.rpn.allowed_border,
        lambda o: o.MODEL.RPN.BOUNDARY_THRESH),
    Row("RPN: sampled anchors, share of objects",
        lambda c: (c.model.train_cfg.rpn.sampler.num, c.model.train_cfg.rpn.sampler.pos_fraction),
        lambda o: (o.MODEL.RPN.BATCH_SIZE_PER_IMAGE, o.MODEL.RPN.POSITIVE_FRACTION)),
    Row("RPN: beta of smooth L1", lambda c: _beta(c.model.rpn_head.loss_bbox),
        lambda o: o.MODEL.RPN.SMOOTH_L1_BETA),
    Row("RPN: weights of boxes", lambda c: _weights(c.model.rpn_head.bbox_coder),
        lambda o: o.MODEL.RPN.BBOX_REG_WEIGHTS),
    Row("proposals to learn from: each level's, all, NMS",
        lambda c: _topk(c.model.train_cfg.rpn_proposal),
        lambda o: (o.MODEL.RPN.PRE_NMS_TOPK_TRAIN, o.MODEL.RPN.POST_NMS_TOPK_TRAIN,
                   o.MODEL.RPN.NMS_THRESH)),
    Row("proposals in use: each level's, all, NMS", lambda c: _topk(c.model.test_cfg.rpn),
        lambda o: (o.MODEL.RPN.PRE_NMS_TOPK_TEST, o.MODEL.RPN.POST_NMS_TOPK_TEST,
                   o.MODEL.RPN.NMS_THRESH)),
)  # fmt: skip
ROI = (
    Row("RoI: IoU of objects, by stage",
        lambda c: [stage.assigner.pos_iou_thr for stage in _stages(c)], _our_ious),
    Row("RoI: low-quality matches",  # the assigner's default is True
        lambda c: all(stage.assigner.get("match_low_quality", True) for stage in _stages(c)),
        _our_low_quality),
    Row("RoI: sampled boxes, share of objects",
        lambda c: sorted({(s.sampler.num, s.sampler.pos_fraction) for s in _stages(c)}),
        lambda o: [(o.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE, o.MODEL.ROI_HEADS.POSITIVE_FRACTION)]),
    Row("RoI: objects are among the boxes",
        lambda c: all(s.sampler.add_gt_as_proposals for s in _stages(c)),
        lambda o: o.MODEL.ROI_HEADS.PROPOSAL_APPEND_GT),
    Row("RoI: beta of smooth L1", lambda c: sorted({_beta(head.loss_bbox) for head in _heads(c)}),
        lambda o: [o.MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA]),
    Row("RoI: weights of boxes, by stage",
        lambda c: [_weights(head.bbox_coder) for head in _heads(c)], _our_box_weights),
    Row("RoI: boxes of all classes together",
        lambda c: all(head.reg_class_agnostic for head in _heads(c)),
        lambda o: o.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG),
    Row("RoI: channels of the two layers",
        lambda c: sorted({head.fc_out_channels for head in _heads(c)}),
        lambda o: [o.MODEL.ROI_BOX_HEAD.FC_DIM]),
    Row("RoIAlign: cells, samples",
        lambda c: (c.model.roi_head.bbox_roi_extractor.roi_layer.output_size,
                   c.model.roi_head.bbox_roi_extractor.roi_layer.sampling_ratio),
        lambda o: (o.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION,
                   o.MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO)),
    Row("results: least score, NMS, at most",
        lambda c: (c.model.test_cfg.rcnn.score_thr, c.model.test_cfg.rcnn.nms.iou_threshold,
                   c.model.test_cfg.rcnn.max_per_img),
        lambda o: (o.MODEL.ROI_HEADS.SCORE_THRESH_TEST, o.MODEL.ROI_HEADS.NMS_THRESH_TEST,
                   o.TEST.DETECTIONS_PER_IMAGE)),
)  # fmt: skip
CASCADE = (
    Row("weights of the stages' losses", lambda c: c.model.roi_head.stage_loss_weights,
        lambda o: o.MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS),
)  # fmt: skip
MASK = (
    Row("masks: RoIAlign's cells, samples",
        lambda c: (c.model.roi_head.mask_roi_extractor.roi_layer.output_size,
                   c.model.roi_head.mask_roi_extractor.roi_layer.sampling_ratio),
        lambda o: (o.MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION,
                   o.MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO)),
    Row("masks: convolutions, channels",
        lambda c: sorted({(h.num_convs, h.conv_out_channels)
                          for h in _list(c.model.roi_head.mask_head)}),
        lambda o: [(o.MODEL.ROI_MASK_HEAD.NUM_CONV, o.MODEL.ROI_MASK_HEAD.CONV_DIM)]),
)  # fmt: skip
HTC = (
    Row("semantic branch: classes, weight of its loss, label of no class",
        lambda c: (c.model.roi_head.semantic_head.num_classes,
                   c.model.roi_head.semantic_head.loss_seg.loss_weight,
                   c.model.roi_head.semantic_head.loss_seg.ignore_index),
        lambda o: (o.MODEL.SEM_SEG_HEAD.NUM_CLASSES, o.MODEL.SEM_SEG_HEAD.LOSS_WEIGHT,
                   o.MODEL.SEM_SEG_HEAD.IGNORE_VALUE)),
    Row("semantic branch: levels, stride, channels",
        lambda c: (c.model.roi_head.semantic_head.num_ins,
                   round(1 / c.model.roi_head.semantic_head.seg_scale_factor),
                   c.model.roi_head.semantic_head.conv_out_channels),
        lambda o: (len(o.MODEL.SEM_SEG_HEAD.IN_FEATURES), o.MODEL.SEM_SEG_HEAD.COMMON_STRIDE,
                   o.MODEL.SEM_SEG_HEAD.CONVS_DIM)),
)  # fmt: skip
_LOSSES = {"IoULoss": "iou_log", "GIoULoss": "giou"}
FCOS = (
    Row("FCOS: convolutions of a tower, strides",
        lambda c: (c.model.bbox_head.stacked_convs, c.model.bbox_head.strides),
        lambda o: (o.MODEL.FCOS.NUM_CONVS, [2 ** int(p[1:]) for p in o.MODEL.FCOS.IN_FEATURES])),
    Row("FCOS: loss of boxes", lambda c: _LOSSES[c.model.bbox_head.loss_bbox.type],
        lambda o: o.MODEL.FCOS.BOX_LOSS),
    Row("FCOS: radius of centre sampling",  # the head's defaults
        lambda c: c.model.bbox_head.get("center_sample_radius", 1.5)
        if c.model.bbox_head.get("center_sampling", False) else 0.0,
        lambda o: o.MODEL.FCOS.CENTER_SAMPLING_RADIUS),
    Row("results: least score, candidates of a level, NMS, at most",
        lambda c: (c.model.test_cfg.score_thr, c.model.test_cfg.nms_pre,
                   c.model.test_cfg.nms.iou_threshold, c.model.test_cfg.max_per_img),
        lambda o: (o.MODEL.FCOS.SCORE_THRESH_TEST, o.MODEL.FCOS.TOPK_CANDIDATES_TEST,
                   o.MODEL.FCOS.NMS_THRESH_TEST, o.TEST.DETECTIONS_PER_IMAGE)),
)  # fmt: skip
