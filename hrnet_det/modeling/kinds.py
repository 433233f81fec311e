"""The kinds of detectors: one row each, which everything reads that asks what a detector is.

docs/add-a-detector.md adds one from end to end; `formats` reads the files of other code bases.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.modeling.kind import (
    OBJECTS,
    SEGMENTS,
    SEMANTIC_LABELS,
    Kind,
    dense_head_classes,
    semantic_head_classes,
)
from hrnet_det.modeling.read_layers import fcos_levels, panoptic_layers

KINDS: dict[str, Kind] = {}


def register_kind(kind: Kind) -> Kind:
    """Add a row. Raises: ValueError if there is one of that name."""
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name!r} already: {KINDS[kind.name].title}")
    KINDS[kind.name] = kind
    return kind


_BOX_MARKS = ("roi_heads.box_head.", "roi_heads.box_predictor.cls_score.")
_CASCADE_MARKS = ("roi_heads.box_head.0.", "roi_heads.box_predictor.0.cls_score.")
_MASK, _STAGE_MASK = "roi_heads.mask_head.", "roi_heads.mask_head.0."
_KEYPOINT = "roi_heads.keypoint_head."
_KEYPOINT_LAYERS = (r"roi_heads\.keypoint_head\.score_lowres\.bias",)
_ROI_LAYERS = (
    r"roi_heads\.box_predictor\..+",
    r"roi_heads\.mask_head\.(\d+\.)?predictor\..+",
    *_KEYPOINT_LAYERS,
)
_SEMANTIC_LAYERS = (r"(roi_heads\.semantic_head|sem_seg_head)\.predictor\..+",)

# fmt: off
# What the rows of a family share, and the rows.
_TWO_STAGE = Kind(
    name="", title="", base="Base-RCNN-HRNetV2p.yaml", meta_arch="GeneralizedRCNN",
    roi_heads=("StandardROIHeads",), class_layers=_ROI_LAYERS,
    transposed_class_layers=(r"roi_heads\.keypoint_head\.score_lowres\.weight",),
    conventions=("mmdet", "hrnet_object_detection", "maskrcnn_benchmark"),
    compat="CompatRCNN", augmentable=True)
_KEYPOINTS = replace(
    _TWO_STAGE, base="Base-Keypoint-RCNN-HRNetV2p.yaml", keypoints=True, augmentable=False)
_CASCADE = replace(_TWO_STAGE, base="Base-Cascade-RCNN-HRNetV2p.yaml")
_DENSE = Kind(
    name="", title="", base="", meta_arch="", count_classes=dense_head_classes,
    class_layers=(r"head\.cls_score\..+",))
for _kind in (
    replace(_TWO_STAGE, name="faster_rcnn", title="Faster R-CNN", marks=_BOX_MARKS),
    replace(_TWO_STAGE, name="mask_rcnn", title="Mask R-CNN", masks=True,
            marks=(*_BOX_MARKS, _MASK)),
    replace(_KEYPOINTS, name="keypoint_rcnn", title="Keypoint R-CNN",
            marks=(*_BOX_MARKS, _KEYPOINT)),
    replace(_KEYPOINTS, name="mask_keypoint_rcnn", title="Mask R-CNN with keypoints", masks=True,
            marks=(*_BOX_MARKS, _MASK, _KEYPOINT)),
    replace(_CASCADE, name="cascade_rcnn", title="Cascade R-CNN",
            roi_heads=("ResamplingCascadeROIHeads", "CascadeROIHeads"), marks=_CASCADE_MARKS),
    replace(_CASCADE, name="cascade_mask_rcnn", title="Cascade Mask R-CNN", masks=True,
            roi_heads=("ResamplingCascadeROIHeads",), marks=(*_CASCADE_MARKS, _MASK, _STAGE_MASK)),
    replace(_CASCADE, name="cascade_rcnn_one_mask", title="Cascade R-CNN with one mask head",
            masks=True, roi_heads=("CascadeROIHeads",),  # Detectron2's
            marks=(*_CASCADE_MARKS, _MASK)),
    replace(_TWO_STAGE, name="htc", title="Hybrid Task Cascade", base="Base-HTC-HRNetV2p.yaml",
            meta_arch="HTC", compat="CompatHTC", roi_heads=("HTCROIHeads",), masks=True,
            semantic_classes=settings.HTC_SEMANTIC_CLASSES,
            marks=(*_CASCADE_MARKS, _MASK, _STAGE_MASK, "roi_heads.mask_head.1.conv_res."),
            class_layers=(*_ROI_LAYERS, *_SEMANTIC_LAYERS)),
    Kind(name="rpn", title="RPN", base="Base-RPN-HRNetV2p.yaml", meta_arch="ProposalNetwork",
         output="proposals", metric="box_proposals/AR@1000", classes=None,
         marks=("proposal_generator.",)),
    replace(_DENSE, name="retinanet", title="RetinaNet", base="Base-RetinaNet-HRNetV2p.yaml",
            meta_arch="RetinaNet", classes=settings.RETINANET_CLASSES, marks=("head.cls_score.",)),
    replace(_DENSE, name="fcos", title="FCOS", base="Base-FCOS-HRNetV2p.yaml", meta_arch="FCOS",
            classes=settings.FCOS_CLASSES, marks=("head.cls_score.", "head.ctrness."),
            read_layers=fcos_levels,
            conventions=("mmdet", "hrnet_object_detection", "maskrcnn_benchmark")),
    Kind(name="semantic_seg", title="Semantic segmentation", meta_arch="SemanticSegmentor",
         base="Base-SemanticSegmentation-HRNetV2.yaml", learns=frozenset({SEMANTIC_LABELS}),
         output="sem_seg", metric="sem_seg/mIoU", classes=None,
         semantic_classes=settings.SEMANTIC_CLASSES, marks=("sem_seg_head.",),
         class_layers=_SEMANTIC_LAYERS),
    Kind(name="panoptic_fpn", title="Panoptic FPN", base="Base-Panoptic-FPN-HRNetV2p.yaml",
         meta_arch="PanopticFPN", roi_heads=("StandardROIHeads",), masks=True,
         learns=frozenset({OBJECTS, SEMANTIC_LABELS}), output="panoptic_seg",
         metric="panoptic_seg/PQ", semantic_classes=settings.SEMANTIC_CLASSES,
         marks=(*_BOX_MARKS, _MASK, "sem_seg_head."),
         class_layers=(*_ROI_LAYERS, *_SEMANTIC_LAYERS)),
    Kind(name="panoptic_deeplab", title="Panoptic-DeepLab",
         base="Base-Panoptic-DeepLab-HRNetV2.yaml", meta_arch="HRNetPanopticDeepLab", masks=True,
         learns=frozenset({SEGMENTS}), output="panoptic_seg", metric="panoptic_seg/PQ",
         classes=settings.SEMANTIC_CLASSES, count_classes=semantic_head_classes,
         read_layers=panoptic_layers, marks=("sem_seg_head.decoder.", "ins_embed_head."),
         class_layers=_SEMANTIC_LAYERS),
):
    register_kind(_kind)
# fmt: on


def find_kind(meta_arch: str, roi_heads: str, *, masks: bool, keypoints: bool) -> Kind:
    """The kind of a config; a row of its own, of which little is known, for a user's detector."""
    of_arch = [kind for kind in KINDS.values() if kind.meta_arch == meta_arch]
    if not of_arch:
        flags = {"masks": masks, "keypoints": keypoints}
        return Kind(meta_arch, meta_arch, "", meta_arch, (roi_heads,), learns=frozenset(), **flags)
    if not of_arch[0].roi_heads:
        return of_arch[0]
    fitting = [kind for kind in of_arch if roi_heads in kind.roi_heads]
    fitting = fitting or [_with_unknown_heads(of_arch[0], roi_heads)]
    kind = max(fitting, key=lambda kind: (kind.masks == masks) + (kind.keypoints == keypoints))
    if (kind.masks, kind.keypoints) == (masks, keypoints):
        return kind
    augmentable = kind.augmentable and not keypoints
    return replace(kind, masks=masks, keypoints=keypoints, augmentable=augmentable)


def _with_unknown_heads(kind: Kind, roi_heads: str) -> Kind:
    """A meta-architecture with RoI heads of a user's own: only what these do not change."""
    title = f"{kind.meta_arch} with {roi_heads}"
    kind = replace(kind, name=kind.meta_arch, title=title, roi_heads=(roi_heads,))
    return replace(
        kind,
        base="",
        marks=(),
        class_layers=(),
        transposed_class_layers=(),
        conventions=(),
        compat="",
    )


def recognise_kind(names: Collection[str]) -> Kind | None:
    """The kind of detector that tensors of our names are of; None if they are of none."""
    fitting = [
        kind
        for kind in KINDS.values()
        if kind.marks and all(any(name.startswith(m) for name in names) for m in kind.marks)
    ]
    return max(fitting, key=lambda kind: len(kind.marks), default=None)


def class_axis(name: str) -> int | None:
    """The axis of a tensor of ours that follows the classes or keypoints; None if none does."""
    for kind in KINDS.values():
        for axis, layers in enumerate((kind.class_layers, kind.transposed_class_layers)):
            if any(re.fullmatch(layer, name) for layer in layers):
                return axis
    return None


def object_rows(name: str) -> int:
    """How many rows of a tensor of ours each object class has; 0 if it does not follow them.

    A one-stage detector has as many for each of its anchors, one after the other.
    """
    others = (*_KEYPOINT_LAYERS, *_SEMANTIC_LAYERS)
    if class_axis(name) != 0 or any(re.fullmatch(layer, name) for layer in others):
        return 0
    return 4 if ".bbox_pred." in name else 1


def kind_of(run: RunConfig) -> Kind:
    """The kind of detector that a run is of."""
    return find_kind(**run.model._asdict())
