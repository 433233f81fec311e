"""The rows of RoI heads: their boxes, and cascades."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import (
    STAGES,
    Conversion,
    Row,
    always,
    rows_of,
    same,
    unneeded,
)
from hrnet_det.convert_config.heads import (
    assigner,
    box_loss,
    box_weights,
    check_coders,
    sampler,
)
from hrnet_det.convert_config.network import NORMS, levels
from hrnet_det.convert_config.nodes import plain
from hrnet_det.convert_config.poolers import HEADS, extractors, pooler
from hrnet_det.modeling.compat.suppression import LEAST_SCORE
from hrnet_det.modeling.kinds import KINDS

BOX, MASK = f"{HEADS}.bbox_head.*", f"{HEADS}.mask_head.*"
TRAIN, TEST = "model.train_cfg.rcnn.*", "model.test_cfg.rcnn"
# Convolutions and fully connected layers of the named heads.
LAYERS = {"Shared2FCBBoxHead": (0, 2), "Shared4Conv1FCBBoxHead": (4, 1)}


@rows_of(f"{BOX}.type", "MODEL.ROI_BOX_HEAD.NUM_CONV MODEL.ROI_BOX_HEAD.NUM_FC")
def _layers(conversion: Conversion) -> None:
    head = conversion.nodes(BOX)[0]
    counts = [head.find(f"num_shared_{name}") for name in ("convs", "fcs")]
    defaults = LAYERS.get(head.find("type").value, (0, 0))
    numbers = [d if n is None else n.value for n, d in zip(counts, defaults, strict=True)]
    conversion.set("MODEL.ROI_BOX_HEAD.NUM_CONV", numbers[0], counts[0] or head.find("type"))
    conversion.set("MODEL.ROI_BOX_HEAD.NUM_FC", numbers[1], counts[1] or head.find("type"))
    for other in conversion.nodes(BOX):
        for name in ("num_cls_convs", "num_cls_fcs", "num_reg_convs", "num_reg_fcs"):
            if (node := other.find(name)) is not None:
                conversion.use(node)
                if node.value:
                    conversion.lack(node, "classes and boxes share all layers here")


@rows_of(f"{BOX}.norm_cfg.type", "MODEL.ROI_BOX_HEAD.NORM", "of its convolutions")
def _norm(conversion: Conversion) -> None:
    for node in conversion.nodes(f"{BOX}.norm_cfg"):
        conversion.use(node)
        name = NORMS.get((plain(node) or {}).get("type"), "" if node.value is None else None)
        if name is None:
            conversion.lack(node, f"norms here are {', '.join(NORMS.values())}")
        else:
            conversion.set("MODEL.ROI_BOX_HEAD.NORM", name, node)


@rows_of(f"{HEADS}.bbox_roi_extractor.featmap_strides", "MODEL.ROI_HEADS.IN_FEATURES")
def _features(conversion: Conversion) -> None:
    node = conversion.take(f"{HEADS}.bbox_roi_extractor.featmap_strides")
    if node is None:
        return
    known = {2**level: f"p{level}" for level in levels(conversion)}
    if not set(plain(node)) <= set(known):
        raise conversion.refuse(node, f"the pyramid's levels have strides {list(known)}")
    names = [known[stride] for stride in plain(node)]
    conversion.set("MODEL.ROI_HEADS.IN_FEATURES", names, node)
    masks = conversion.take(f"{HEADS}.mask_roi_extractor.featmap_strides")
    if masks is not None and plain(masks) != plain(node):
        conversion.lack(masks, "masks and boxes are from the same levels here")


@rows_of(f"{BOX}.bbox_coder.target_stds", "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", "1 / target_stds")
def _coder(conversion: Conversion) -> None:
    check_coders(conversion, BOX)
    for node in conversion.nodes(f"{BOX}.bbox_coder.target_stds"):
        conversion.set("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", box_weights(plain(node)), node)


@rows_of(
    f"{BOX}.bbox_coder.target_stds",
    "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS",
    "1 / target_stds of each stage",
)
def _stage_coders(conversion: Conversion) -> None:
    check_coders(conversion, BOX)
    nodes = conversion.nodes(f"{BOX}.bbox_coder.target_stds")
    conversion.use(*nodes)
    weights = [box_weights(plain(node)) for node in nodes]
    if weights:
        weights = weights * stages(conversion) if len(weights) == 1 else weights
        conversion.set("MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS", weights, nodes[0])


def stages(conversion: Conversion) -> int:
    """How many a cascade has."""
    node = conversion.find(f"{HEADS}.num_stages")
    return len(conversion.nodes(BOX)) if node is None else node.value


@rows_of(f"{TRAIN}.assigner.pos_iou_thr", "MODEL.ROI_HEADS.IOU_THRESHOLDS")
def _threshold(conversion: Conversion) -> None:
    for node in conversion.nodes(f"{TRAIN}.assigner.pos_iou_thr"):
        conversion.set("MODEL.ROI_HEADS.IOU_THRESHOLDS", [float(node.value)], node)
    _check_ends(conversion)


@rows_of(f"{TRAIN}.assigner.pos_iou_thr", "MODEL.ROI_BOX_CASCADE_HEAD.IOUS", "of each stage")
def _stage_thresholds(conversion: Conversion) -> None:
    nodes = conversion.nodes(f"{TRAIN}.assigner.pos_iou_thr")
    conversion.use(*nodes)
    if nodes:
        ious = [float(node.value) for node in nodes]
        ious = ious * stages(conversion) if len(ious) == 1 else ious
        conversion.set("MODEL.ROI_BOX_CASCADE_HEAD.IOUS", ious, nodes[0])
    _check_ends(conversion)


def _check_ends(conversion: Conversion) -> None:
    """Boxes below the threshold are background, and low-quality matches count from it on."""
    for assigned in conversion.nodes(f"{TRAIN}.assigner"):
        for name in ("neg_iou_thr", "min_pos_iou"):
            node, least = assigned.find(name), assigned.find("pos_iou_thr")
            conversion.use(node)
            if node is not None and least is not None and node.value != least.value:
                conversion.lack(node, f"here it is pos_iou_thr, {least.value}")


@rows_of(
    f"{HEADS}.num_stages {HEADS}.stage_loss_weights",
    "MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS",
)
def _stage_weights(conversion: Conversion) -> None:
    node = conversion.take(f"{HEADS}.stage_loss_weights")
    conversion.take(f"{HEADS}.num_stages")
    if node is not None:
        weights = [float(weight) for weight in plain(node)]
        conversion.set("MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS", weights, node)


LOW_QUALITY = "MODEL.ROI_HEADS.LOW_QUALITY_MATCHES"


@rows_of(
    f"{TRAIN}.assigner.match_low_quality",
    LOW_QUALITY,
    "`True` is `always`, or `with_masks` with a mask head",
)
def _low_quality(conversion: Conversion) -> None:
    nodes = conversion.nodes(f"{TRAIN}.assigner.match_low_quality")
    matches = not nodes or bool(nodes[0].value)
    # with_masks is the same as one of the others, whichever that is.
    same_as = ("with_masks",) if matches == KINDS[conversion.kind].masks else ()
    conversion.set(LOW_QUALITY, "always" if matches else "never", *nodes[:1], also=same_as)
    for node in nodes[1:]:
        conversion.use(node)
        if bool(node.value) != matches:
            conversion.lack(node, STAGES)


@rows_of(f"{BOX}.loss_bbox.loss_weight", "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT")
def _weights(conversion: Conversion) -> None:
    boxes = conversion.nodes(f"{BOX}.loss_bbox.loss_weight")
    for node in boxes:
        conversion.set("MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT", float(boxes[0].value), boxes[0])
        conversion.use(node)
        if node.value != boxes[0].value:
            conversion.lack(node, STAGES)


@rows_of(f"{TEST}.nms.type", "MODEL.ROI_HEADS.SOFT_NMS", "`soft_nms`, linear")
def _suppression(conversion: Conversion) -> None:
    kind = conversion.take(f"{TEST}.nms.type")
    soft = kind is not None and kind.value == "soft_nms"
    conversion.set("MODEL.ROI_HEADS.SOFT_NMS", soft, kind)
    allowed = {"type": ("nms", "soft_nms")}
    if soft:
        allowed |= {"method": ("linear",), "min_score": (LEAST_SCORE,)}
    for name, known in allowed.items():
        node = conversion.find(f"{TEST}.nms.{name}")
        conversion.use(node)
        if node is not None and node.value not in known:
            conversion.lack(node, f"here it is {' or '.join(map(repr, known))}")


def _thresholds_of_use() -> list[Row]:
    return [
        same(f"{TEST}.score_thr", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", float),
        same(f"{TEST}.nms.iou_threshold", "MODEL.ROI_HEADS.NMS_THRESH_TEST", float),
        same(f"{TEST}.max_per_img", "TEST.DETECTIONS_PER_IMAGE"),
        always(f"{TEST}.mask_thr_binary", 0.5),
        _suppression,
        always(f"{TEST}.nms.class_agnostic", False),
    ]


SHARED: list[Row] = [
    _layers,
    _norm,
    _features,
    pooler(f"{HEADS}.bbox_roi_extractor.*", "MODEL.ROI_BOX_HEAD"),
    *extractors("bbox"),
    same(f"{BOX}.fc_out_channels", "MODEL.ROI_BOX_HEAD.FC_DIM", default=1024),
    same(f"{BOX}.conv_out_channels", "MODEL.ROI_BOX_HEAD.CONV_DIM", default=256),
    same(
        f"{BOX}.num_classes",
        "MODEL.ROI_HEADS.NUM_CLASSES",
        says="follows the data where it is not stated",
    ),
    same(f"{BOX}.reg_class_agnostic", "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", bool, False),
    box_loss(BOX, "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA"),
    _weights,
    _low_quality,
    same(f"{TRAIN}.sampler.num", "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE"),
    same(f"{TRAIN}.sampler.pos_fraction", "MODEL.ROI_HEADS.POSITIVE_FRACTION"),
    same(f"{TRAIN}.sampler.add_gt_as_proposals", "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", bool, True),
    *sampler(f"{TRAIN}.sampler"),
    *assigner(f"{TRAIN}.assigner"),
    always(f"{TRAIN}.pos_weight", -1),
    *_thresholds_of_use(),
    always(f"{BOX}.loss_cls.type", "CrossEntropyLoss"),
    always(f"{BOX}.loss_cls.use_sigmoid", False),
    always(f"{BOX}.loss_cls.loss_weight", 1, advice="the loss of classes has a weight of 1 here"),
    always(f"{BOX}.loss_cls.class_weight", None),
    always(f"{BOX}.reg_decoded_bbox", False, True),
    *unneeded(
        *(f"{BOX}.{name}" for name in ("in_channels", "roi_feat_size", "with_avg_pool")),
        f"{TRAIN}.debug",
        f"{BOX}.init_cfg",
    ),
]
BOXES: list[Row] = [_coder, _threshold]
CASCADE: list[Row] = [_stage_coders, _stage_thresholds, _stage_weights]
