"""Files of HRNet-Object-Detection and of mmdetection 1, which it is a fork of."""

from hrnet_det.checkpoint.formats.base import BODY, Format, Names
from hrnet_det.checkpoint.formats.fcos import MMDET_1_FCOS
from hrnet_det.checkpoint.formats.mmdet import ROI_HEADS, RPN, UNUSED_FLOW, is_mmdetection


def _refuses(names: Names) -> str:
    heads = [name for name in names if name.startswith(("bbox_head.", "mask_head."))]
    if not any(HRNET_OBJECT_DETECTION.to_ours(name) for name in heads):
        return f"a detector of mmdetection whose heads are not known here ({min(heads)}, ...)"
    return ""


HRNET_OBJECT_DETECTION = Format(
    name="hrnet_object_detection",
    title="HRNet-Object-Detection or mmdetection 1",
    recognises=is_mmdetection,  # and not of a later version, which is asked for before
    rules=(
        ("backbone.{body}", BODY + "{body}"),
        ("neck.reduction_conv.0.{p}", "backbone.reduction_conv.{p}"),
        ("neck.reduction_conv.conv.{p}", "backbone.reduction_conv.{p}"),
        ("neck.fpn_conv.{n}.{p}", "backbone.fpn_convs.{n}.{p}"),
        ("neck.fpn_conv.{p}", "backbone.fpn_convs.0.{p}"),  # shared by all levels
        ("neck.fpn_convs.{n}.conv.{p}", "backbone.fpn_convs.{n}.{p}"),
        *RPN,
        *ROI_HEADS,
        *MMDET_1_FCOS,
    ),
    conventions="hrnet_object_detection",
    ignored=(UNUSED_FLOW,),
    background_first=True,
    refuses=_refuses,
)
