"""The rows of the region proposal network."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import (
    Conversion,
    Row,
    always,
    rows_of,
    same,
    shared_by,
    unneeded,
)
from hrnet_det.convert_config.counterparts import conventions_of
from hrnet_det.convert_config.heads import (
    anchors,
    assigner,
    box_loss,
    coder,
    sampler,
    sigmoid_losses,
    suppression,
    thresholds,
)
from hrnet_det.convert_config.network import levels
from hrnet_det.modeling.compat.conventions import DETECTRON2, get_conventions

HEAD, TRAIN, TEST = "model.rpn_head", "model.train_cfg.rpn", "model.test_cfg.rpn"
PROPOSAL = "model.train_cfg.rpn_proposal"


@rows_of(f"{HEAD}.feat_channels {HEAD}.num_convs", "MODEL.RPN.CONV_DIMS")
def _convolutions(conversion: Conversion) -> None:
    channels = conversion.take(f"{HEAD}.feat_channels")
    count = conversion.value(f"{HEAD}.num_convs", 1)
    inputs = conversion.find("model.neck.out_channels")
    width = 256 if channels is None else channels.value
    width = -1 if inputs is not None and width == inputs.value else width  # as many as come in
    conversion.set("MODEL.RPN.CONV_DIMS", [width] * count, channels)


@rows_of("model.neck.num_outs", "MODEL.RPN.IN_FEATURES")
def _features(conversion: Conversion) -> None:
    names = [f"p{level}" for level in levels(conversion)]
    conversion.set("MODEL.RPN.IN_FEATURES", names, conversion.find("model.neck.num_outs"))


@rows_of(
    f"{HEAD}.loss_cls.loss_weight {HEAD}.loss_bbox.loss_weight",
    "MODEL.RPN.LOSS_WEIGHT MODEL.RPN.BBOX_REG_LOSS_WEIGHT",
    "the second is a factor beside the first",
)
def _weights(conversion: Conversion) -> None:
    classes = conversion.take(f"{HEAD}.loss_cls.loss_weight")
    boxes = conversion.take(f"{HEAD}.loss_bbox.loss_weight")
    weight = 1.0 if classes is None else float(classes.value)
    conversion.set("MODEL.RPN.LOSS_WEIGHT", weight, classes)
    ratio = (1.0 if boxes is None else boxes.value) / weight if weight else 1.0
    conversion.set("MODEL.RPN.BBOX_REG_LOSS_WEIGHT", ratio, boxes)


@rows_of(f"{TRAIN}.assigner.min_pos_iou")
def _least_iou(conversion: Conversion) -> None:
    """The least IoU of low-quality matches, which a code base's rules have."""
    rules = get_conventions(conventions_of(conversion.kind) or DETECTRON2).training
    least = rules.rpn_least_iou
    node = conversion.take(f"{TRAIN}.assigner.min_pos_iou")
    if node is not None and node.value != least:
        conversion.lack(node, f"low-quality matches count from an IoU of {least:g} on here")


# Both are the numbers of proposals in training and in use.
def _numbers(path: str, end: str) -> list[Row]:
    return [
        same(f"{path}.nms_pre", f"MODEL.RPN.PRE_NMS_TOPK_{end}"),
        same(f"{path}.max_per_img", f"MODEL.RPN.POST_NMS_TOPK_{end}"),
        *suppression(f"{path}.nms"),
    ]


def _of_use(name: str, key: str) -> Row:
    advice = "training and use share it here: that of use is taken"
    return shared_by(f"{TEST}.{name}", f"{PROPOSAL}.{name}", key, advice)


def _boundary(allowed: object) -> int:
    return int(allowed) if allowed >= 0 else -1


RPN: list[Row] = [
    _features,
    _convolutions,
    anchors(HEAD),
    coder(HEAD, "MODEL.RPN.BBOX_REG_WEIGHTS"),
    box_loss(HEAD, "MODEL.RPN.BBOX_REG_LOSS_TYPE", "MODEL.RPN.SMOOTH_L1_BETA", "L1: 0.0"),
    _weights,
    thresholds(f"{TRAIN}.assigner", "MODEL.RPN.IOU_THRESHOLDS"),
    _least_iou,
    always(f"{TRAIN}.assigner.match_low_quality", True),
    *assigner(f"{TRAIN}.assigner"),
    same(f"{TRAIN}.sampler.num", "MODEL.RPN.BATCH_SIZE_PER_IMAGE"),
    same(f"{TRAIN}.sampler.pos_fraction", "MODEL.RPN.POSITIVE_FRACTION"),
    *sampler(f"{TRAIN}.sampler"),
    always(f"{TRAIN}.sampler.add_gt_as_proposals", False),
    same(f"{TRAIN}.allowed_border", "MODEL.RPN.BOUNDARY_THRESH", _boundary),
    always(f"{TRAIN}.pos_weight", -1),
    *_numbers(PROPOSAL, "TRAIN"),
    *_numbers(TEST, "TEST"),
    _of_use("nms.iou_threshold", "MODEL.RPN.NMS_THRESH"),
    _of_use("min_bbox_size", "MODEL.PROPOSAL_GENERATOR.MIN_SIZE"),
    *sigmoid_losses(HEAD),
    always(f"{HEAD}.reg_decoded_bbox", False, True),
    always(f"{HEAD}.num_classes", 1),
    *unneeded(f"{HEAD}.in_channels", f"{HEAD}.init_cfg", f"{TRAIN}.debug"),
    *(always(f"{path}.nms_across_levels", False) for path in (PROPOSAL, TEST)),
    *unneeded(*(f"{path}.nms_post" for path in (PROPOSAL, TEST))),  # which max_per_img bounds
]
