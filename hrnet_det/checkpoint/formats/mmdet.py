"""Files of mmdetection 2 and 3, and the names that its version 1 has in common with them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from hrnet_det.checkpoint.formats.base import BODY, Format, Names, Rules, has, per_stage
from hrnet_det.checkpoint.io import METADATA_KEY
from hrnet_det.modeling.kinds import recognise_kind

RPN: Rules = (
    ("rpn_head.rpn_conv.{p}", "proposal_generator.rpn_head.conv.{p}"),
    ("rpn_head.rpn_cls.{p}", "proposal_generator.rpn_head.objectness_logits.{p}"),
    ("rpn_head.rpn_reg.{p}", "proposal_generator.rpn_head.anchor_deltas.{p}"),
)
_FCOS: Rules = (
    *(
        (f"bbox_head.{theirs}.{k}.{part}.{{p}}", f"head.{ours}.{3 * k + i}.{{p}}")
        for theirs, ours in (("cls_convs", "cls_subnet"), ("reg_convs", "bbox_subnet"))
        for k in range(4)
        for i, part in enumerate(("conv", "gn"))
    ),
    ("bbox_head.conv_cls.{p}", "head.cls_score.{p}"),
    ("bbox_head.conv_reg.{p}", "head.bbox_pred.{p}"),
    ("bbox_head.conv_centerness.{p}", "head.ctrness.{p}"),
    ("bbox_head.scales.{n}.scale", "head.scales.{n}"),
)
# Of a Hybrid Task Cascade of mmdetection 1.
UNUSED_FLOW = (
    r"(roi_head\.)?mask_head\.0\.conv_res\..+",
    "the first mask head takes no features of another",
)


def roi_head_rules(prefix: str) -> Rules:
    """Of boxes, masks and a semantic branch; the prefix is what their names start with."""
    heads = (
        ("bbox_head*.shared_fcs.0.{p}", "roi_heads.box_head*.fc1.{p}"),
        ("bbox_head*.shared_fcs.1.{p}", "roi_heads.box_head*.fc2.{p}"),
        ("bbox_head*.fc_cls.{p}", "roi_heads.box_predictor*.cls_score.{p}"),
        ("bbox_head*.fc_reg.{p}", "roi_heads.box_predictor*.bbox_pred.{p}"),
        *(
            (f"mask_head*.convs.{k}.conv.{{p}}", f"roi_heads.mask_head*.mask_fcn{k + 1}.{{p}}")
            for k in range(4)
        ),
        ("mask_head*.upsample.{p}", "roi_heads.mask_head*.deconv.{p}"),
        ("mask_head*.conv_logits.{p}", "roi_heads.mask_head*.predictor.{p}"),
        ("mask_head*.conv_res.conv.{p}", "roi_heads.mask_head*.conv_res.{p}"),
    )
    layers = {
        "lateral_convs.{n}.conv": "lateral_convs.{n}",
        "convs.{n}.conv": "convs.{n}",
        "conv_embedding.conv": "embedding",
        "conv_logits": "predictor",
    }
    branch = tuple(
        (f"semantic_head.{theirs}.{{p}}", f"roi_heads.semantic_head.{ours}.{{p}}")
        for theirs, ours in layers.items()
    )
    return tuple((prefix + theirs, ours) for theirs, ours in (*per_stage(heads), *branch))


def is_mmdetection(names: Names) -> bool:
    """Of any version: the HRNet's names start with backbone."""
    return has(names, "backbone.conv1.", "backbone.stage2.")


def _recognises(names: Names) -> bool:
    older = has(names, "bbox_head.", "mask_head.") and not has(names, "bbox_head.conv_cls.")
    return is_mmdetection(names) and (has(names, "roi_head.") or not older)


def _wraps(weights: dict[str, Tensor], metadata: dict[str, Any]) -> dict[str, Any]:
    classes = {"dataset_meta": {"classes": metadata["classes"]}}  # where version 3 reads them
    return {"meta": classes, "state_dict": weights, METADATA_KEY: metadata}


def _cannot_hold(names: Names) -> str:
    kind = recognise_kind(names)
    if has(names, "backbone.fpn_convs.") and not has(names, "backbone.fpn_convs.1."):
        return "mmdetection's HRFPN has no convolution for all levels"
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
        *roi_head_rules("roi_head."),
        *_FCOS,
    ),
    conventions="mmdet",
    ignored=(UNUSED_FLOW,),
    wraps=_wraps,
    cannot_hold=_cannot_hold,
)
