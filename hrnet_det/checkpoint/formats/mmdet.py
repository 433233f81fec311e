"""Files of mmdetection 2 and 3."""

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, Rules, has
from hrnet_det.checkpoint.formats.fcos import MMDET_FCOS
from hrnet_det.checkpoint.io import METADATA_KEY
from hrnet_det.modeling.kinds import recognise_kind

RPN: Rules = (
    ("rpn_head.rpn_conv.{p}", "proposal_generator.rpn_head.conv.{p}"),
    ("rpn_head.rpn_cls.{p}", "proposal_generator.rpn_head.objectness_logits.{p}"),
    ("rpn_head.rpn_reg.{p}", "proposal_generator.rpn_head.anchor_deltas.{p}"),
)
# Of a Hybrid Task Cascade of mmdetection 1.
_FLOW = r"(roi_head\.)?mask_head\.0\.conv_res\..+"
UNUSED_FLOW = (_FLOW, "the first mask head takes no features of another")
ROI_HEADS: Rules = (
    ("bbox_head{s}.shared_fcs.0.{p}", "roi_heads.box_head{s}.fc1.{p}"),
    ("bbox_head{s}.shared_fcs.1.{p}", "roi_heads.box_head{s}.fc2.{p}"),
    ("bbox_head{s}.fc_cls.{p}", "roi_heads.box_predictor{s}.cls_score.{p}"),
    ("bbox_head{s}.fc_reg.{p}", "roi_heads.box_predictor{s}.bbox_pred.{p}"),
    ("mask_head{s}.convs.0.conv.{p}", "roi_heads.mask_head{s}.mask_fcn1.{p}"),
    ("mask_head{s}.convs.1.conv.{p}", "roi_heads.mask_head{s}.mask_fcn2.{p}"),
    ("mask_head{s}.convs.2.conv.{p}", "roi_heads.mask_head{s}.mask_fcn3.{p}"),
    ("mask_head{s}.convs.3.conv.{p}", "roi_heads.mask_head{s}.mask_fcn4.{p}"),
    ("mask_head{s}.upsample.{p}", "roi_heads.mask_head{s}.deconv.{p}"),
    ("mask_head{s}.conv_logits.{p}", "roi_heads.mask_head{s}.predictor.{p}"),
    ("mask_head{s}.conv_res.conv.{p}", "roi_heads.mask_head{s}.conv_res.{p}"),
    ("semantic_head.lateral_convs.{n}.conv.{p}", "roi_heads.semantic_head.lateral_convs.{n}.{p}"),
    ("semantic_head.convs.{n}.conv.{p}", "roi_heads.semantic_head.convs.{n}.{p}"),
    ("semantic_head.conv_embedding.conv.{p}", "roi_heads.semantic_head.embedding.{p}"),
    ("semantic_head.conv_logits.{p}", "roi_heads.semantic_head.predictor.{p}"),
)


def is_mmdetection(names: Names) -> bool:
    """Of any version: the HRNet's names start with backbone."""
    return has(names, "backbone.conv1.", "backbone.stage2.")


def _recognises(names: Names) -> bool:
    older = has(names, "bbox_head.", "mask_head.") and not has(names, "bbox_head.conv_cls.")
    return is_mmdetection(names) and (has(names, "roi_head.") or not older)


def _cannot_hold(names: Names) -> str:
    kind = recognise_kind(names)
    if has(names, "backbone.fpn_convs.") and not has(names, "backbone.fpn_convs.1."):
        return "mmdetection's HRFPN has no convolution for all levels"
    if kind and kind.name == "fcos" and {f"head.cls_subnet.{k}.bias" for k in (0, 1)} <= set(names):
        return "mmdetection's FCOS has no biases beside its norms, these towers have"
    if kind and kind.name == "cascade_rcnn_one_mask":
        return (
            "mmdetection's Cascade Mask R-CNN has a mask head for each of its three stages, this "
            "one has one for all"
        )
    return ""


MMDET = Format(
    name="mmdet",
    title="mmdetection 2 or 3",
    recognises=_recognises,
    rules=(
        ("backbone.{body}", BODY + "{body}"),
        ("neck.reduction_conv.conv.{p}", "backbone.reduction_conv.{p}"),
        ("neck.fpn_convs.{n}.conv.{p}", "backbone.fpn_convs.{n}.{p}"),
        *RPN,
        *(("roi_head." + theirs, ours) for theirs, ours in ROI_HEADS),
        *MMDET_FCOS,
    ),
    conventions="mmdet",
    ignored=(UNUSED_FLOW,),
    wraps=lambda weights, metadata: {
        "meta": {"dataset_meta": {"classes": metadata["classes"]}},  # where version 3 reads them
        "state_dict": weights,
        METADATA_KEY: metadata,
    },
    cannot_hold=_cannot_hold,
)
