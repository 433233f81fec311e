"""The rows of FCOS and RetinaNet."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Conversion, Row, always, rows_of, same, unneeded
from hrnet_det.convert_config.heads import (
    anchors,
    assigner,
    box_loss,
    coder,
    suppression,
    thresholds,
)
from hrnet_det.convert_config.network import NORMS, levels
from hrnet_det.convert_config.nodes import plain

HEAD, TRAIN, TEST = "model.bbox_head", "model.train_cfg", "model.test_cfg"
FCOS_RANGES = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8))
FOCAL = {"gamma": 2.0, "alpha": 0.25}


def _features(group: str) -> Row:
    @rows_of("model.neck.num_outs", f"{group}.IN_FEATURES")
    def row(conversion: Conversion) -> None:
        names = [f"p{level}" for level in levels(conversion)]
        conversion.set(f"{group}.IN_FEATURES", names, conversion.find("model.neck.num_outs"))
        node = conversion.take(f"{HEAD}.strides")
        expected = [2**level for level in levels(conversion)]
        if node is not None and list(plain(node)) != expected:
            raise conversion.refuse(node, f"the pyramid's levels have strides {expected}")

    return row


@rows_of(f"{HEAD}.feat_channels")
def _channels(conversion: Conversion) -> None:
    """Towers are as wide as the pyramid."""
    width = conversion.find("model.neck.out_channels")
    for name in ("feat_channels", "in_channels"):
        node = conversion.take(f"{HEAD}.{name}")
        if node is not None and width is not None and node.value != width.value:
            conversion.lack(node, f"the head is as wide as the pyramid here, {width.value}")


def _thresholds_of_use(group: str) -> list[Row]:
    return [
        same(f"{TEST}.score_thr", f"{group}.SCORE_THRESH_TEST", float),
        same(f"{TEST}.nms_pre", f"{group}.TOPK_CANDIDATES_TEST"),
        same(f"{TEST}.nms.iou_threshold", f"{group}.NMS_THRESH_TEST", float),
        same(f"{TEST}.max_per_img", "TEST.DETECTIONS_PER_IMAGE"),
        always(f"{TEST}.min_bbox_size", 0),
        *suppression(f"{TEST}.nms"),
    ]


def _shared(group: str) -> list[Row]:
    return [
        _features(group),
        _channels,
        same(
            f"{HEAD}.num_classes",
            f"{group}.NUM_CLASSES",
            says="follows the data where it is not stated",
        ),
        same(f"{HEAD}.stacked_convs", f"{group}.NUM_CONVS", default=4),
        *_thresholds_of_use(group),
        always(f"{HEAD}.loss_cls.type", "FocalLoss"),
        always(f"{HEAD}.loss_cls.use_sigmoid", True),
        always(f"{HEAD}.loss_cls.loss_weight", 1),
        always(f"{HEAD}.loss_bbox.loss_weight", 1),
        *unneeded(f"{HEAD}.init_cfg", f"{TRAIN}.debug"),
    ]


def _norm(group: str, default: str) -> Row:
    @rows_of(f"{HEAD}.norm_cfg.type", f"{group}.NORM")
    def row(conversion: Conversion) -> None:
        node = conversion.take(f"{HEAD}.norm_cfg")
        options = {"type": default} if node is None else plain(node) or {"type": ""}
        name = {**NORMS, "": ""}.get(options.get("type"))
        if name is None or options.get("num_groups", 32) != 32:
            conversion.lack(node, f"norms here are {', '.join(NORMS.values())}; GN has 32 groups")
        else:
            conversion.set(f"{group}.NORM", name, node)

    return row


@rows_of(
    f"{HEAD}.center_sampling {HEAD}.center_sample_radius",
    "MODEL.FCOS.CENTER_SAMPLING_RADIUS",
    "0 without it: each point in the box",
)
def _centre(conversion: Conversion) -> None:
    on = conversion.take(f"{HEAD}.center_sampling")
    radius = conversion.take(f"{HEAD}.center_sample_radius")
    value = 0.0
    if on is not None and on.value:
        value = 1.5 if radius is None else float(radius.value)
    conversion.set("MODEL.FCOS.CENTER_SAMPLING_RADIUS", value, on, radius)


FCOS_LOSSES = {"IoULoss": "iou_log", "GIoULoss": "giou_weighted"}


@rows_of(f"{HEAD}.loss_bbox.type", "MODEL.FCOS.BOX_LOSS", "`IoULoss` is `iou_log`")
def _fcos_loss(conversion: Conversion) -> None:
    loss = conversion.take(f"{HEAD}.loss_bbox")
    options = {"type": "IoULoss"} if loss is None else plain(loss)
    name = FCOS_LOSSES.get(options["type"])
    if name is None or options.get("mode", "log") != "log" or options.get("linear"):
        conversion.lack(loss, f"losses of boxes here: {', '.join(FCOS_LOSSES)}")
    else:
        conversion.set("MODEL.FCOS.BOX_LOSS", name, loss and loss.find("type"))


@rows_of(f"{HEAD}.conv_bias", "MODEL.FCOS.CONV_BIAS", "beside a norm; `auto` is without")
def _biases(conversion: Conversion) -> None:
    node = conversion.take(f"{HEAD}.conv_bias")
    conversion.set("MODEL.FCOS.CONV_BIAS", node is not None and node.value is True, node)
    norm = conversion.values.get("MODEL.FCOS.NORM")
    if node is not None and node.value is False and norm is not None and not norm.value:
        conversion.lack(node, "convolutions without a norm have biases here")


def _ranges() -> Row:
    given = tuple(tuple(pair) for pair in FCOS_RANGES)
    as_lists = [list(pair) for pair in FCOS_RANGES]
    advice = "the ranges are those of the paper here"
    return always(f"{HEAD}.regress_ranges", given, as_lists, advice=advice)


FCOS: list[Row] = [
    *_shared("MODEL.FCOS"),
    _norm("MODEL.FCOS", "GN"),
    _centre,
    _fcos_loss,
    _ranges(),
    *(always(f"{HEAD}.loss_cls.{name}", value) for name, value in FOCAL.items()),
    always(f"{HEAD}.norm_on_bbox", False, advice="distances are pixels here"),
    always(f"{HEAD}.centerness_on_reg", False, advice="centerness is beside the classes here"),
    always(f"{HEAD}.dcn_on_last_conv", False),
    _biases,
    always(f"{HEAD}.loss_centerness.type", "CrossEntropyLoss"),
    always(f"{HEAD}.loss_centerness.use_sigmoid", True),
    always(f"{HEAD}.loss_centerness.loss_weight", 1),
    *unneeded(TRAIN),  # which mmdetection's FCOS does not read
]


RETINANET: list[Row] = [
    *_shared("MODEL.RETINANET"),
    _norm("MODEL.RETINANET", ""),
    anchors(HEAD),
    coder(HEAD, "MODEL.RETINANET.BBOX_REG_WEIGHTS"),
    box_loss(HEAD, "MODEL.RETINANET.BBOX_REG_LOSS_TYPE", "MODEL.RETINANET.SMOOTH_L1_LOSS_BETA"),
    same(f"{HEAD}.loss_cls.gamma", "MODEL.RETINANET.FOCAL_LOSS_GAMMA", float, 2.0),
    same(f"{HEAD}.loss_cls.alpha", "MODEL.RETINANET.FOCAL_LOSS_ALPHA", float, 0.25),
    thresholds(f"{TRAIN}.assigner", "MODEL.RETINANET.IOU_THRESHOLDS"),
    *assigner(f"{TRAIN}.assigner"),
    always(f"{TRAIN}.assigner.min_pos_iou", 0),
    always(f"{TRAIN}.sampler.type", "PseudoSampler"),
    always(f"{TRAIN}.allowed_border", -1),
    always(f"{TRAIN}.pos_weight", -1),
]
