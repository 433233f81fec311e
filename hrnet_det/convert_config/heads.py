"""The rows that RPN, RoI heads and one-stage heads share: anchors, box coders and losses."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import STAGES, Conversion, Row, always, rows_of
from hrnet_det.convert_config.network import levels
from hrnet_det.convert_config.nodes import Node, plain

# By mmdetection's type of a loss on decoded boxes, Detectron2's.
IOU_LOSSES = {"GIoULoss": "giou", "DIoULoss": "diou", "CIoULoss": "ciou"}
ANCHORS = "its anchors are not those of AnchorGenerator with scales, ratios and strides"


def anchors(head: str) -> Row:
    """The anchors of a head."""
    path = f"{head}.anchor_generator"

    @rows_of(
        f"{path}.scales {path}.strides {path}.ratios",
        "MODEL.ANCHOR_GENERATOR.SIZES MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS "
        "MODEL.ANCHOR_GENERATOR.OFFSET",
        "sizes are scales x strides, in pixels",
    )
    def row(conversion: Conversion) -> None:
        node = conversion.take(path)
        if node is None:
            return
        options = plain(node)
        known = {"type", "scales", "strides", "ratios", "octave_base_scale", "scales_per_octave"}
        known |= {"base_sizes", "center_offset", "scale_major", "centers"}
        strides = options.get("strides", [])
        if options.get("type") != "AnchorGenerator" or not set(options) <= known:
            conversion.lack(node, ANCHORS)
            return
        expected = [2**level for level in levels(conversion)]
        if list(strides) != expected:
            raise conversion.refuse(
                node.find("strides") or node, f"the pyramid's levels have strides {expected}"
            )
        scales = _scales(options)
        bases = options.get("base_sizes") or strides
        sizes = [[_rounded(base * scale) for scale in scales] for base in bases]
        conversion.set("MODEL.ANCHOR_GENERATOR.SIZES", sizes, node.find("scales") or node)
        ratios = [float(ratio) for ratio in options["ratios"]]
        conversion.set("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [ratios], node.find("ratios"))
        offset = float(options.get("center_offset", 0.0))
        conversion.set("MODEL.ANCHOR_GENERATOR.OFFSET", offset, node.find("center_offset"))
        if node.find("centers") is not None:
            conversion.lack(node.find("centers"), ANCHORS)

    return row


def _scales(options: dict) -> list[float]:
    if options.get("scales") is not None:
        return list(options["scales"])
    octave, count = options["octave_base_scale"], options["scales_per_octave"]
    return [octave * 2 ** (i / count) for i in range(count)]


def _rounded(size: float) -> float:
    """Whole numbers as such, others to the digits that a config shows."""
    return int(size) if float(size).is_integer() else round(size, 5)


def box_weights(stds: object) -> list[float]:
    """Detectron2's weights of a box coder: 1 / target_stds."""
    return [1 / std for std in stds]


def coder(head: str, key: str) -> Row:
    """The weights of a head's box coder, which has one."""

    @rows_of(f"{head}.bbox_coder.target_stds", key, "1 / target_stds")
    def row(conversion: Conversion) -> None:
        check_coders(conversion, head)
        node = conversion.take(f"{head}.bbox_coder.target_stds")
        conversion.set(key, box_weights([1.0] * 4 if node is None else plain(node)), node)

    return row


def check_coders(conversion: Conversion, head: str) -> None:
    """What box coders do besides their weights is the same here, or is said to be another."""
    for coder in conversion.nodes(f"{head}.bbox_coder"):
        for name, known in (
            ("type", ("DeltaXYWHBBoxCoder",)),
            ("target_means", ([0.0] * 4, (0.0,) * 4)),
            ("clip_border", (True,)),
        ):
            node = coder.find(name)
            if node is None:
                continue
            conversion.use(node)
            if plain(node) not in known:
                conversion.lack(node, f"here it is {known[0]!r}")


def box_loss(head: str, kind_key: str, beta_key: str, says: str = "") -> Row:
    """L1, smooth L1 and the losses on decoded boxes of a head.

    Args:
        kind_key, beta_key: ours, of its kind and of smooth L1's beta.
    """

    @rows_of(f"{head}.loss_bbox.type {head}.loss_bbox.beta", f"{kind_key} {beta_key}", says)
    def row(conversion: Conversion) -> None:
        losses = conversion.nodes(f"{head}.loss_bbox")
        for loss in losses:
            kind, beta = _kind_of_loss(loss)
            conversion.use(loss.find("type"), loss.find("beta"), loss.find("eps"))
            if kind is None:
                known = ", ".join(IOU_LOSSES)
                conversion.lack(loss, f"losses of boxes here: L1, smooth L1, {known}")
            elif loss is losses[0]:
                conversion.set(kind_key, kind, loss.find("type"))
                conversion.set(beta_key, beta, loss.find("beta") or loss.find("type"))
            elif (kind, beta) != _kind_of_loss(losses[0]):
                conversion.lack(loss, STAGES)

    return row


def _kind_of_loss(loss: Node) -> tuple[str | None, float]:
    options = plain(loss)
    if options.get("type") == "L1Loss":
        return "smooth_l1", 0.0
    if options.get("type") == "SmoothL1Loss":
        return "smooth_l1", float(options.get("beta", 1.0))
    return IOU_LOSSES.get(options.get("type")), 0.0


def sigmoid_losses(head: str, name: str = "loss_cls") -> list[Row]:
    """Binary cross entropy."""
    return [
        always(f"{head}.{name}.type", "CrossEntropyLoss"),
        always(f"{head}.{name}.use_sigmoid", True),
        always(f"{head}.{name}.class_weight", None),
    ]


def thresholds(path: str, key: str) -> Row:
    """The IoUs of an assigner, between which an anchor is neither an object's nor background."""

    @rows_of(f"{path}.neg_iou_thr {path}.pos_iou_thr", key)
    def row(conversion: Conversion) -> None:
        ends = [conversion.take(f"{path}.{name}_iou_thr") for name in ("neg", "pos")]
        if None in ends:
            return
        if not isinstance(ends[0].value, (int, float)):
            conversion.lack(ends[0], "here it is one number: anchors below it are background")
            return
        conversion.set(key, [node.value for node in ends], *ends)

    return row


def assigner(path: str) -> list[Row]:
    """What the matching by IoU does besides its thresholds."""
    return [
        always(f"{path}.type", "MaxIoUAssigner"),
        always(f"{path}.ignore_iof_thr", -1),
        always(f"{path}.gt_max_assign_all", True),
    ]


def sampler(path: str) -> list[Row]:
    """What the sampling does besides numbers and shares."""
    return [
        always(f"{path}.type", "RandomSampler"),
        always(f"{path}.neg_pos_ub", -1),
    ]


def suppression(path: str) -> list[Row]:
    """What the suppression does besides its threshold."""
    return [
        always(f"{path}.type", "nms"),
        always(f"{path}.class_agnostic", False),
    ]
