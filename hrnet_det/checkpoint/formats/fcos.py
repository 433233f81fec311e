"""Names of FCOS's heads in files of mmdetection and of HRNet-FCOS."""

from hrnet_det.checkpoint.formats.base import BODY, Format, Rules, has

_MOST_CONVS = 4  # 3x3 convolutions of a tower, as published


def _mmdetection(cls: str, reg: str, centerness: str) -> Rules:
    """A whole head's, with the names of its last three layers."""
    return (
        *(
            (f"bbox_head.{theirs}.{k}.{part}.{{p}}", f"head.{ours}.{3 * k + i}.{{p}}")
            for theirs, ours in (("cls_convs", "cls_subnet"), ("reg_convs", "bbox_subnet"))
            for k in range(_MOST_CONVS)
            for i, part in enumerate(("conv", "gn"))
        ),
        (f"bbox_head.{cls}.{{p}}", "head.cls_score.{p}"),
        (f"bbox_head.{reg}.{{p}}", "head.bbox_pred.{p}"),
        (f"bbox_head.{centerness}.{{p}}", "head.ctrness.{p}"),
        ("bbox_head.scales.{n}.scale", "head.scales.{n}"),
    )


MMDET_FCOS = _mmdetection("conv_cls", "conv_reg", "conv_centerness")
MMDET_1_FCOS = _mmdetection("fcos_cls", "fcos_reg", "fcos_centerness")

# HRNet's own FCOS is a fork of maskrcnn-benchmark whose pyramid has another name than that of
# HRNet-MaskRCNN-Benchmark, and whose head has the names of an RPN's, which it stands for.
HRNET_FCOS = Format(
    name="hrnet_fcos",
    title="HRNet-FCOS",
    recognises=lambda names: has(names, "backbone.body.") and has(names, "rpn.head.centerness."),
    rules=(
        ("backbone.body.{body}", BODY + "{body}"),
        ("backbone.fpn.reduction_conv.0.{p}", "backbone.reduction_conv.{p}"),
        ("backbone.fpn.fpn_conv.{n}.{p}", "backbone.fpn_convs.{n}.{p}"),
        ("backbone.fpn.fpn_conv.{p}", "backbone.fpn_convs.0.{p}"),  # shared by all levels
        ("rpn.head.cls_tower.{n}.{p}", "head.cls_subnet.{n}.{p}"),
        ("rpn.head.bbox_tower.{n}.{p}", "head.bbox_subnet.{n}.{p}"),
        ("rpn.head.cls_logits.{p}", "head.cls_score.{p}"),
        ("rpn.head.bbox_pred.{p}", "head.bbox_pred.{p}"),
        ("rpn.head.centerness.{p}", "head.ctrness.{p}"),
        ("rpn.head.scales.{n}.scale", "head.scales.{n}"),
    ),
    conventions="maskrcnn_benchmark",
    overrides=("MODEL.FCOS.CONV_BIAS", "True"),
)
