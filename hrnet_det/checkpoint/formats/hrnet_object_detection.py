"""Files of HRNet-Object-Detection, a fork of mmdetection before its version 1."""

from hrnet_det.checkpoint.formats.base import BODY, Format
from hrnet_det.checkpoint.formats.mmdet import ROI_HEADS, RPN, UNUSED_FLOW, is_mmdetection
from hrnet_det.checkpoint.formats.mmdet1 import refuses_unknown_heads

HRNET_OBJECT_DETECTION = Format(
    name="hrnet_object_detection",
    title="HRNet-Object-Detection",
    recognises=is_mmdetection,  # and not of another version, which is asked for before
    rules=(
        ("backbone.{body}", BODY + "{body}"),
        ("neck.reduction_conv.0.{p}", "backbone.reduction_conv.{p}"),
        ("neck.fpn_conv.{n}.{p}", "backbone.fpn_convs.{n}.{p}"),
        ("neck.fpn_conv.{p}", "backbone.fpn_convs.0.{p}"),  # shared by all levels
        *RPN,
        *ROI_HEADS,
    ),
    conventions="hrnet_object_detection",
    ignored=(UNUSED_FLOW,),
    background_first=True,
    refuses=refuses_unknown_heads,
)
