"""What a config of mmdetection's says, in our keys: by mmengine's own reader and plain formulas."""

from __future__ import annotations

import importlib.util
from math import ceil, isclose, log2
from pathlib import Path

SPEC = importlib.util.find_spec("mmdet")
CONFIGS = Path(SPEC.submodule_search_locations[0], ".mim", "configs") if SPEC else Path("none")
HRNETS = sorted((CONFIGS / "hrnet").glob("*.py"))
WIDTHS = {18: "w18", 32: "w32", 40: "w40"}
IMAGES = 117_266  # of COCO train2017, with objects


def network(model) -> dict[str, object]:
    width = model.backbone.extra.stage4.num_channels[0]
    neck, pixels = model.neck, model.data_preprocessor
    return {
        "MODEL.HRNET.VARIANT": WIDTHS[width],
        "MODEL.HRNET.NORM": "BN",
        "MODEL.HRNET.NORM_EVAL": True,
        "MODEL.WEIGHTS": f"timm://hrnet_{WIDTHS[width]}.ms_in1k",
        "MODEL.HRFPN.OUT_CHANNELS": neck.out_channels,
        "MODEL.HRFPN.MIN_LEVEL": 2 if neck.get("stride", 1) == 1 else 3,
        "MODEL.HRFPN.NUM_LEVELS": neck.get("num_outs", 5),
        "MODEL.PIXEL_MEAN": pixels.mean,
        "MODEL.PIXEL_STD": pixels.std,
        "INPUT.FORMAT": "RGB" if pixels.bgr_to_rgb else "BGR",
    }


def rpn(model) -> dict[str, object]:
    head, rules, test = model.rpn_head, model.train_cfg.rpn, model.test_cfg.rpn
    proposals, anchors = model.train_cfg.rpn_proposal, head.anchor_generator
    return {
        "MODEL.ANCHOR_GENERATOR.SIZES": [[s * anchors.scales[0]] for s in anchors.strides],
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [anchors.ratios],
        "MODEL.RPN.BBOX_REG_WEIGHTS": [1 / s for s in head.bbox_coder.target_stds],
        "MODEL.RPN.SMOOTH_L1_BETA": head.loss_bbox.get("beta", 0.0),
        "MODEL.RPN.IOU_THRESHOLDS": [rules.assigner.neg_iou_thr, rules.assigner.pos_iou_thr],
        "MODEL.RPN.BATCH_SIZE_PER_IMAGE": rules.sampler.num,
        "MODEL.RPN.POSITIVE_FRACTION": rules.sampler.pos_fraction,
        "MODEL.RPN.BOUNDARY_THRESH": rules.allowed_border,
        "MODEL.RPN.PRE_NMS_TOPK_TRAIN": proposals.nms_pre,
        "MODEL.RPN.POST_NMS_TOPK_TRAIN": proposals.max_per_img,
        "MODEL.RPN.PRE_NMS_TOPK_TEST": test.nms_pre,
        "MODEL.RPN.POST_NMS_TOPK_TEST": test.max_per_img,
        "MODEL.RPN.NMS_THRESH": test.nms.iou_threshold,
        "MODEL.RPN.LOSS_WEIGHT": head.loss_cls.loss_weight,
    }


def roi_heads(model) -> dict[str, object]:
    heads, rules, test = model.roi_head, model.train_cfg.rcnn, model.test_cfg.rcnn
    cascade = isinstance(heads.bbox_head, list)
    boxes = heads.bbox_head if cascade else [heads.bbox_head]
    rules = rules if cascade else [rules]
    layer = heads.bbox_roi_extractor.roi_layer
    found = {
        "MODEL.MASK_ON": "mask_head" in heads,
        "MODEL.ROI_HEADS.NUM_CLASSES": boxes[0].num_classes,
        "MODEL.ROI_HEADS.IN_FEATURES": [
            f"p{log2(s):.0f}" for s in heads.bbox_roi_extractor.featmap_strides
        ],
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": rules[0].sampler.num,
        "MODEL.ROI_HEADS.POSITIVE_FRACTION": rules[0].sampler.pos_fraction,
        "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT": rules[0].sampler.add_gt_as_proposals,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": test.score_thr,
        "MODEL.ROI_HEADS.NMS_THRESH_TEST": test.nms.iou_threshold,
        "TEST.DETECTIONS_PER_IMAGE": test.max_per_img,
        "MODEL.ROI_BOX_HEAD.FC_DIM": boxes[0].fc_out_channels,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
        "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA": boxes[0].loss_bbox.get("beta", 0.0),
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": boxes[0].reg_class_agnostic,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": layer.output_size,
        "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": layer.sampling_ratio,
    }
    weights = [[1 / s for s in box.bbox_coder.target_stds] for box in boxes]
    ious = [rule.assigner.pos_iou_thr for rule in rules]
    if cascade:
        found |= {
            "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": weights,
            "MODEL.ROI_BOX_CASCADE_HEAD.IOUS": ious,
            "MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS": heads.stage_loss_weights,
        }
    else:
        found["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"] = weights[0]
        found["MODEL.ROI_HEADS.IOU_THRESHOLDS"] = ious
    return found | _masks(heads)


def _masks(heads) -> dict[str, object]:
    found = {}
    if "mask_head" in heads:
        head = heads.mask_head[0] if isinstance(heads.mask_head, list) else heads.mask_head
        found["MODEL.ROI_MASK_HEAD.NUM_CONV"] = head.num_convs
        found["MODEL.ROI_MASK_HEAD.CONV_DIM"] = head.conv_out_channels
        size = heads.mask_roi_extractor.roi_layer.output_size
        found["MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION"] = size
    if "semantic_head" in heads:
        head = heads.semantic_head
        found |= {
            "MODEL.HTC.SEMANTIC_ON": True,
            "MODEL.SEM_SEG_HEAD.NUM_CLASSES": head.num_classes,
            "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": head.loss_seg.loss_weight,
            "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": head.loss_seg.ignore_index,
            "MODEL.SEM_SEG_HEAD.CONVS_DIM": head.conv_out_channels,
        }
    return found


def low_quality(model) -> bool:
    """Whether RoIs get low-quality matches; the assigner's default is that they do."""
    rules = model.train_cfg.rcnn
    return (rules[0] if isinstance(rules, list) else rules).assigner.get("match_low_quality", True)


def fcos(model) -> dict[str, object]:
    head, test = model.bbox_head, model.test_cfg
    return {
        "MODEL.FCOS.NUM_CLASSES": head.num_classes,
        "MODEL.FCOS.NUM_CONVS": head.stacked_convs,
        "MODEL.FCOS.NORM": "GN",  # FCOSHead's default
        "MODEL.FCOS.IN_FEATURES": [f"p{log2(s):.0f}" for s in head.strides],
        "MODEL.FCOS.CENTER_SAMPLING_RADIUS": 0.0,  # its default: no centre sampling
        "MODEL.FCOS.BOX_LOSS": {"IoULoss": "iou_log"}[head.loss_bbox.type],
        "MODEL.FCOS.SCORE_THRESH_TEST": test.score_thr,
        "MODEL.FCOS.TOPK_CANDIDATES_TEST": test.nms_pre,
        "MODEL.FCOS.NMS_THRESH_TEST": test.nms.iou_threshold,
        "TEST.DETECTIONS_PER_IMAGE": test.max_per_img,
    }


def data(cfg) -> dict[str, object]:
    loader = cfg.train_dataloader
    steps = {step.type: step for step in loader.dataset.pipeline}
    if "Resize" in steps:
        scales = [steps["Resize"].scale]
    else:
        scales = steps["RandomChoiceResize"].scales
    test = next(s for s in cfg.val_dataloader.dataset.pipeline if s.type == "Resize").scale
    maps = "seg" in loader.dataset.data_prefix
    return {
        "INPUT.MIN_SIZE_TRAIN": sorted(min(scale) for scale in scales),
        "INPUT.MAX_SIZE_TRAIN": max(scales[0]),
        "INPUT.MIN_SIZE_TEST": min(test),
        "INPUT.MAX_SIZE_TEST": max(test),
        "INPUT.RANDOM_FLIP": {0.5: "horizontal"}[steps["RandomFlip"].prob],
        "DATASETS.TRAIN": ["coco_2017_train_stuffthing" if maps else "coco_2017_train"],
        "DATASETS.TEST": ["coco_2017_val"],
        "DATALOADER.NUM_WORKERS": loader.num_workers,
        "DATALOADER.ASPECT_RATIO_GROUPING": True,
        "DATALOADER.FILTER_EMPTY_ANNOTATIONS": loader.dataset.filter_cfg.filter_empty_gt,
    }


def solver(cfg) -> dict[str, object]:
    optimizer, wrapper = cfg.optim_wrapper.optimizer, cfg.optim_wrapper
    total = cfg.auto_scale_lr.base_batch_size
    epoch = ceil(IMAGES / total)
    warmup, drops = cfg.param_scheduler
    factors = wrapper.get("paramwise_cfg", {})
    clip = wrapper.get("clip_grad")
    linear = warmup.type == "LinearLR"
    found = {
        "SOLVER.IMS_PER_BATCH": total,
        "SOLVER.BASE_LR": optimizer.lr,
        "SOLVER.MOMENTUM": optimizer.momentum,
        "SOLVER.WEIGHT_DECAY": optimizer.weight_decay,
        "SOLVER.WEIGHT_DECAY_NORM": optimizer.weight_decay,
        "SOLVER.BIAS_LR_FACTOR": factors.get("bias_lr_mult", 1.0),
        "SOLVER.MAX_ITER": cfg.train_cfg.max_epochs * epoch,
        "SOLVER.STEPS": [m * epoch for m in drops.milestones],
        "SOLVER.GAMMA": drops.gamma,
        "SOLVER.WARMUP_METHOD": "linear" if linear else "constant",
        "SOLVER.WARMUP_FACTOR": warmup.start_factor if linear else warmup.factor,
        "SOLVER.WARMUP_ITERS": warmup.end - 1,
        "SOLVER.CLIP_GRADIENTS.ENABLED": clip is not None,
        "SOLVER.CHECKPOINT_PERIOD": cfg.default_hooks.checkpoint.interval * epoch,
        "TEST.EVAL_PERIOD": cfg.train_cfg.val_interval * epoch,
    }
    if clip is not None:
        found["SOLVER.CLIP_GRADIENTS.CLIP_TYPE"] = "full_model"
        found["SOLVER.CLIP_GRADIENTS.CLIP_VALUE"] = clip.max_norm
    if "bias_decay_mult" in factors:
        decay = optimizer.weight_decay * factors.bias_decay_mult
        found["SOLVER.WEIGHT_DECAY_BIAS"] = decay
        found["SOLVER.BIAS_LR_FACTOR_NORM"] = 1.0  # mmengine leaves norms out
    return found


def expected(path: Path) -> dict[str, object]:
    """{our key: value} of all that a config of a detector on HRNetV2p says."""
    from mmengine.config import Config

    cfg = Config.fromfile(path)
    heads = fcos(cfg.model) if cfg.model.type == "FCOS" else rpn(cfg.model) | roi_heads(cfg.model)
    found = network(cfg.model) | heads | data(cfg) | solver(cfg)
    if cfg.model.type != "FCOS":
        found["low quality"] = low_quality(cfg.model)
    return found


def close(one, other) -> bool:
    """Whether values are the same: numbers to six digits, lists and tuples item by item."""
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(close, one, other))
    if isinstance(other, (str, bool)) or isinstance(one, (str, bool)):
        return one == other
    return isclose(one, other, rel_tol=1e-6)


def differing(found, expected) -> dict[str, tuple]:
    """{key: (found, expected)} of the expected keys whose values are others."""
    return {k: (found[k], v) for k, v in expected.items() if not close(found[k], v)}
