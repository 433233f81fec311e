"""Files of mmdetection 1, and of the projects that are made from it."""

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, Rules, has
from hrnet_det.checkpoint.formats.fcos import MMDET_1_FCOS
from hrnet_det.checkpoint.formats.mmdet import ROI_HEADS, RPN, UNUSED_FLOW, is_mmdetection

NECK: Rules = (
    ("neck.reduction_conv.conv.{p}", "backbone.reduction_conv.{p}"),
    ("neck.fpn_convs.{n}.conv.{p}", "backbone.fpn_convs.{n}.{p}"),
)


def refuses_unknown_heads(names: Names) -> str:
    """What a file of mmdetection is whose heads are none of those that can be loaded."""
    heads = [name for name in names if name.startswith(("bbox_head.", "mask_head."))]
    if not any(MMDET_1.to_ours(name) for name in heads):
        return f"a detector of mmdetection whose heads are not known here ({min(heads)}, ...)"
    return ""


MMDET_1 = Format(
    name="mmdet1",
    title="mmdetection 1",
    # And not of a later version, which is asked for before.
    recognises=lambda names: (
        is_mmdetection(names) and has(names, "neck.reduction_conv.conv.", "neck.fpn_convs.")
    ),
    rules=(("backbone.{body}", BODY + "{body}"), *NECK, *RPN, *ROI_HEADS, *MMDET_1_FCOS),
    conventions="hrnet_object_detection",
    # Source: configs/hrnet and LoadImageFromFile of mmdetection 1, and the configs of Pedestron and
    # CascadeTabNet: OpenCV resizes whole numbers, and of HRNet-Object-Detection's 2000 proposals
    # there are 1000.
    overrides=(
        *("INPUT.RESIZE", "opencv"),
        *("MODEL.RPN.PRE_NMS_TOPK_TEST", "1000"),
        *("MODEL.RPN.POST_NMS_TOPK_TEST", "1000"),
    ),
    ignored=(UNUSED_FLOW,),
    background_first=True,
    refuses=refuses_unknown_heads,
)
