"""The rows of masks, and of a Hybrid Task Cascade."""

from __future__ import annotations

from hrnet_det.convert_config.conversion import Conversion, Row, always, rows_of, same, unneeded
from hrnet_det.convert_config.network import levels
from hrnet_det.convert_config.nodes import Node
from hrnet_det.convert_config.poolers import HEADS, extractors, pooler
from hrnet_det.convert_config.roi_heads import BOX, MASK, TRAIN


@rows_of(f"{MASK}.num_classes")
def _mask_classes(conversion: Conversion) -> None:
    boxes = conversion.nodes(f"{BOX}.num_classes")
    for node in conversion.nodes(f"{MASK}.num_classes"):
        conversion.use(node)
        if boxes and node.value != boxes[0].value:
            conversion.lack(node, f"masks have the classes of boxes here, {boxes[0].value}")


MASKS: list[Row] = [
    same(f"{MASK}.num_convs", "MODEL.ROI_MASK_HEAD.NUM_CONV", default=4),
    same(f"{MASK}.conv_out_channels", "MODEL.ROI_MASK_HEAD.CONV_DIM", default=256),
    pooler(f"{HEADS}.mask_roi_extractor.*", "MODEL.ROI_MASK_HEAD"),
    *extractors("mask"),
    *unneeded(f"{HEADS}.mask_roi_extractor.*.featmap_strides"),
    _mask_classes,
    same(f"{MASK}.class_agnostic", "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", bool, default=False),
    always(f"{MASK}.loss_mask.type", "CrossEntropyLoss"),
    always(f"{MASK}.loss_mask.use_mask", True),
    always(f"{MASK}.loss_mask.loss_weight", 1, advice="the loss of masks has a weight of 1 here"),
    always(f"{TRAIN}.mask_size", 28, advice="masks are learned at twice POOLER_RESOLUTION here"),
    always(f"{MASK}.norm_cfg", None),
    always(f"{MASK}.upsample_cfg.type", "deconv"),
    *unneeded(f"{MASK}.in_channels", f"{MASK}.roi_feat_size", f"{MASK}.init_cfg"),
]
SEMANTIC = f"{HEADS}.semantic_head"


def semantic_head(conversion: Conversion) -> Node | None:
    """HTC's; None without one."""
    node = conversion.find(SEMANTIC)
    return node if node is not None and node.value is not None else None


@rows_of(SEMANTIC, "MODEL.HTC.SEMANTIC_ON", "whether there is one")
def _semantic(conversion: Conversion) -> None:
    head = semantic_head(conversion)
    conversion.use(head.find("type") if head is not None else conversion.find(SEMANTIC))
    conversion.set("MODEL.HTC.SEMANTIC_ON", head is not None, head and head.find("type"))


@rows_of(
    f"{SEMANTIC}.num_ins {SEMANTIC}.fusion_level",
    "MODEL.SEM_SEG_HEAD.IN_FEATURES MODEL.SEM_SEG_HEAD.COMMON_STRIDE",
)
def _semantic_levels(conversion: Conversion) -> None:
    if semantic_head(conversion) is None:
        return
    count, level = (conversion.take(f"{SEMANTIC}.{name}") for name in ("num_ins", "fusion_level"))
    names = [f"p{k}" for k in levels(conversion)][: count.value]
    conversion.set("MODEL.SEM_SEG_HEAD.IN_FEATURES", names, count)
    stride = 2 ** levels(conversion)[level.value]
    conversion.set("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", stride, level)
    extractor = conversion.find(f"{HEADS}.semantic_roi_extractor")
    conversion.use(extractor)
    scale = conversion.take(f"{SEMANTIC}.seg_scale_factor")
    if scale is not None and scale.value != 1 / stride:
        conversion.lack(scale, f"labels have the size of the fused level here, 1/{stride}")


HTC: list[Row] = [
    _semantic,
    _semantic_levels,
    same(f"{SEMANTIC}.num_classes", "MODEL.SEM_SEG_HEAD.NUM_CLASSES"),
    same(f"{SEMANTIC}.conv_out_channels", "MODEL.SEM_SEG_HEAD.CONVS_DIM"),
    same(f"{SEMANTIC}.loss_seg.loss_weight", "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", float),
    same(f"{SEMANTIC}.loss_seg.ignore_index", "MODEL.SEM_SEG_HEAD.IGNORE_VALUE"),
    always(f"{SEMANTIC}.num_convs", 4),
    always(f"{SEMANTIC}.loss_seg.type", "CrossEntropyLoss"),
    always(f"{HEADS}.interleaved", True),
    always(f"{HEADS}.mask_info_flow", True),
    always(f"{HEADS}.semantic_fusion", ("bbox", "mask"), ["bbox", "mask"]),
    always(f"{MASK}.with_conv_res", True, False),
    *unneeded(f"{SEMANTIC}.in_channels", f"{SEMANTIC}.init_cfg"),
]
