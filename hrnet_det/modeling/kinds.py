"""The kinds of detectors: one row each, which everything reads that asks what a detector is.

To add a kind of detector:

1. The model, a class that Detectron2 can build from a config: a meta-architecture in a file of
   modeling/meta_arch/, `@META_ARCH_REGISTRY.register()`, or RoI heads in a file of
   modeling/roi_heads/, `@ROI_HEADS_REGISTRY.register()`, imported in modeling/__init__.py. Its
   settings, if any, are keys in config/keys.py. One that Detectron2 has needs no file.
2. The row: a Kind at the end of the tuple below; `Kind` says what each column means. Only name,
   title, base and meta_arch are needed for a detector that learns boxes from objects. From a file
   outside the package: `register_kind(Kind(...))`, where the class is registered.
3. Its configs: configs/Base-...yaml, which the row names, and those that state a variant over it.
   `model_zoo.names` finds them by themselves.

Where other code bases have it, `formats` says how their files are read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import replace

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.modeling.kind import OBJECTS, SEMANTIC_LABELS, Kind, dense_head_classes

__all__ = [
    "KINDS",
    "OBJECTS",
    "SEMANTIC_LABELS",
    "Kind",
    "class_axis",
    "find_kind",
    "kind_of",
    "recognise_kind",
    "register_kind",
]

# The conventions of other code bases that Detectron2's two-stage detectors can follow.
TWO_STAGE_CONVENTIONS = ("mmdet", "hrnet_object_detection", "maskrcnn_benchmark")

_BOX_LAYERS = (r"roi_heads\.box_predictor\..+",)
_MASK_LAYERS = (*_BOX_LAYERS, r"roi_heads\.mask_head\.(\d+\.)?predictor\..+")
_KEYPOINTS = r"roi_heads\.keypoint_head\.score_lowres\."
_KEYPOINT_LAYERS = (*_BOX_LAYERS, _KEYPOINTS + "bias")
_BOX_MARKS = ("roi_heads.box_head.", "roi_heads.box_predictor.cls_score.")
_CASCADE_MARKS = ("roi_heads.box_head.0.", "roi_heads.box_predictor.0.cls_score.")
_TWO_STAGE = {
    "meta_arch": "GeneralizedRCNN",
    "conventions": TWO_STAGE_CONVENTIONS,
    "compat": "CompatRCNN",
    "augmentable": True,
}
_CASCADE = {**_TWO_STAGE, "base": "Base-Cascade-RCNN-HRNetV2p.yaml"}

KINDS: dict[str, Kind] = {}


def register_kind(kind: Kind) -> Kind:
    """Add a row. Raises: ValueError if there is one of that name."""
    if kind.name in KINDS:
        raise ValueError(f"there is a kind {kind.name!r} already: {KINDS[kind.name].title}")
    KINDS[kind.name] = kind
    return kind


for _kind in (
    Kind(
        name="faster_rcnn",
        title="Faster R-CNN",
        base="Base-RCNN-HRNetV2p.yaml",
        roi_heads=("StandardROIHeads",),
        marks=_BOX_MARKS,
        class_layers=_BOX_LAYERS,
        **_TWO_STAGE,
    ),
    Kind(
        name="mask_rcnn",
        title="Mask R-CNN",
        base="Base-RCNN-HRNetV2p.yaml",
        roi_heads=("StandardROIHeads",),
        masks=True,
        marks=(*_BOX_MARKS, "roi_heads.mask_head."),
        class_layers=_MASK_LAYERS,
        **_TWO_STAGE,
    ),
    Kind(
        name="keypoint_rcnn",
        title="Keypoint R-CNN",
        base="Base-Keypoint-RCNN-HRNetV2p.yaml",
        roi_heads=("StandardROIHeads",),
        keypoints=True,
        marks=(*_BOX_MARKS, "roi_heads.keypoint_head."),
        class_layers=_KEYPOINT_LAYERS,
        transposed_class_layers=(_KEYPOINTS + "weight",),
        **{**_TWO_STAGE, "augmentable": False},
    ),
    Kind(
        name="mask_keypoint_rcnn",
        title="Mask R-CNN with keypoints",
        base="Base-Keypoint-RCNN-HRNetV2p.yaml",
        roi_heads=("StandardROIHeads",),
        masks=True,
        keypoints=True,
        marks=(*_BOX_MARKS, "roi_heads.mask_head.", "roi_heads.keypoint_head."),
        class_layers=(*_MASK_LAYERS, *_KEYPOINT_LAYERS),
        transposed_class_layers=(_KEYPOINTS + "weight",),
        **{**_TWO_STAGE, "augmentable": False},
    ),
    Kind(
        name="cascade_rcnn",
        title="Cascade R-CNN",
        roi_heads=("ResamplingCascadeROIHeads", "CascadeROIHeads"),
        marks=_CASCADE_MARKS,
        class_layers=_BOX_LAYERS,
        **_CASCADE,
    ),
    Kind(
        name="cascade_mask_rcnn",
        title="Cascade Mask R-CNN",
        roi_heads=("ResamplingCascadeROIHeads",),
        masks=True,
        marks=(*_CASCADE_MARKS, "roi_heads.mask_head.", "roi_heads.mask_head.0."),
        class_layers=_MASK_LAYERS,
        **_CASCADE,
    ),
    Kind(
        name="cascade_rcnn_one_mask",  # Detectron2's
        title="Cascade R-CNN with one mask head",
        roi_heads=("CascadeROIHeads",),
        masks=True,
        marks=(*_CASCADE_MARKS, "roi_heads.mask_head."),
        class_layers=_MASK_LAYERS,
        **_CASCADE,
    ),
    Kind(
        name="htc",
        title="Hybrid Task Cascade",
        base="Base-HTC-HRNetV2p.yaml",
        roi_heads=("HTCROIHeads",),
        masks=True,
        semantic_classes=settings.HTC_SEMANTIC_CLASSES,
        marks=(
            *_CASCADE_MARKS,
            "roi_heads.mask_head.",
            "roi_heads.mask_head.0.",
            "roi_heads.mask_head.1.conv_res.",
        ),
        class_layers=(*_MASK_LAYERS, r"roi_heads\.semantic_head\.predictor\..+"),
        **{**_TWO_STAGE, "meta_arch": "HTC", "compat": "CompatHTC"},
    ),
    Kind(
        name="rpn",
        title="RPN",
        base="Base-RPN-HRNetV2p.yaml",
        meta_arch="ProposalNetwork",
        output="proposals",
        metric="box_proposals/AR@1000",
        classes=None,
        marks=("proposal_generator.",),
    ),
    Kind(
        name="retinanet",
        title="RetinaNet",
        base="Base-RetinaNet-HRNetV2p.yaml",
        meta_arch="RetinaNet",
        classes=settings.RETINANET_CLASSES,
        count_classes=dense_head_classes,
        marks=("head.cls_score.",),
        class_layers=(r"head\.cls_score\..+",),
    ),
    Kind(
        name="fcos",
        title="FCOS",
        base="Base-FCOS-HRNetV2p.yaml",
        meta_arch="FCOS",
        classes=settings.FCOS_CLASSES,
        count_classes=dense_head_classes,
        marks=("head.cls_score.", "head.ctrness."),
        class_layers=(r"head\.cls_score\..+",),
        conventions=("mmdet",),
    ),
    Kind(
        name="semantic_seg",
        title="Semantic segmentation",
        base="Base-SemanticSegmentation-HRNetV2.yaml",
        meta_arch="SemanticSegmentor",
        learns=frozenset({SEMANTIC_LABELS}),
        output="sem_seg",
        metric="sem_seg/mIoU",
        classes=None,
        semantic_classes=settings.SEMANTIC_CLASSES,
        marks=("sem_seg_head.",),
        class_layers=(r"sem_seg_head\.predictor\..+",),
    ),
    Kind(
        name="panoptic_fpn",
        title="Panoptic FPN",
        base="Base-Panoptic-FPN-HRNetV2p.yaml",
        meta_arch="PanopticFPN",
        roi_heads=("StandardROIHeads",),
        masks=True,
        learns=frozenset({OBJECTS, SEMANTIC_LABELS}),
        output="panoptic_seg",
        metric="panoptic_seg/PQ",
        semantic_classes=settings.SEMANTIC_CLASSES,
        marks=(*_BOX_MARKS, "roi_heads.mask_head.", "sem_seg_head."),
        class_layers=(*_MASK_LAYERS, r"sem_seg_head\.predictor\..+"),
    ),
):
    register_kind(_kind)


def find_kind(meta_arch: str, roi_heads: str, *, masks: bool, keypoints: bool) -> Kind:
    """The kind of a config; a row of its own, of which little is known, for a user's detector.

    Args:
        meta_arch, roi_heads: names of the classes. masks, keypoints: whether it predicts them.
    """
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
    return replace(
        kind,
        name=kind.meta_arch,
        title=f"{kind.meta_arch} with {roi_heads}",
        base="",
        roi_heads=(roi_heads,),
        marks=(),
        class_layers=(),
        transposed_class_layers=(),
        conventions=(),
        compat="",
    )


def recognise_kind(names: Collection[str]) -> Kind | None:
    """The kind of detector that tensors of our names are of; None if they are of none."""

    def has(marks: Iterable[str]) -> bool:
        return all(any(name.startswith(mark) for name in names) for mark in marks)

    fitting = [kind for kind in KINDS.values() if kind.marks and has(kind.marks)]
    return max(fitting, key=lambda kind: len(kind.marks), default=None)


def class_axis(name: str) -> int | None:
    """The axis of a tensor of ours that follows the classes or keypoints; None if none does."""
    for kind in KINDS.values():
        for axis, layers in enumerate((kind.class_layers, kind.transposed_class_layers)):
            if any(re.fullmatch(layer, name) for layer in layers):
                return axis
    return None


def kind_of(run: RunConfig) -> Kind:
    """The kind of detector that a run is of."""
    return find_kind(**run.model._asdict())
