"""The kinds of detectors: one row each, which everything reads that asks what a detector is.

A new kind is a row here (`register_kind`), its module, and its configs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.settings import Setting

# What a detector learns from and is evaluated by.
OBJECTS, SEMANTIC_LABELS = "objects", "semantic labels"
# The conventions of other code bases that Detectron2's two-stage detectors can follow.
TWO_STAGE_CONVENTIONS = ("mmdet", "hrnet_object_detection", "maskrcnn_benchmark")


@dataclass(frozen=True)
class Kind:
    """A kind of detector.

    Args:
        name: in names of files and checkpoints, such as "mask_rcnn".
        title: for people, such as "Mask R-CNN".
        base: the config in configs/ that it starts from; "" for none.
        meta_arch: MODEL.META_ARCHITECTURE; in a LazyConfig the class that `model` calls.
        roi_heads: the MODEL.ROI_HEADS.NAMEs that it can have, () without RoI heads; likewise.
        masks, keypoints: whether its RoI heads predict them (MODEL.MASK_ON, KEYPOINT_ON).
        learns: OBJECTS, SEMANTIC_LABELS or both, which is also what it is evaluated by; empty: not
            known, so nothing is checked.
        output: the key of its predictions: "instances", "proposals", "sem_seg", "panoptic_seg".
        metric: what the best checkpoint is chosen by, as metrics.json names it.
        classes: the setting with the number of object classes; None without any.
        semantic_classes: the same of semantic labels.
        marks: what the names of tensors begin with, each of which weights of this kind have. Of
            several kinds that fit, weights are of the one with the most marks.
        class_layers: patterns of names of tensors whose first axis follows the classes.
        conventions: whose it can follow, beside Detectron2's (a key of `compat.CONVENTIONS`).
        compat: the meta-architecture in whose place CONVENTIONS puts another: its name.
        augmentable: Detectron2's test-time augmentation works for it.
    """

    name: str
    title: str
    base: str
    meta_arch: str
    roi_heads: tuple[str, ...] = ()
    masks: bool = False
    keypoints: bool = False
    learns: frozenset[str] = frozenset({OBJECTS})
    output: str = "instances"
    metric: str = "bbox/AP"
    classes: Setting | None = settings.ROI_CLASSES
    semantic_classes: Setting | None = None
    marks: tuple[str, ...] = ()
    class_layers: tuple[str, ...] = ()
    conventions: tuple[str, ...] = ()
    compat: str = ""
    augmentable: bool = False

    @property
    def detects(self) -> bool:
        """Whether its predictions have instances."""
        return self.output in ("instances", "panoptic_seg")

    def fits(self, meta_arch: str, roi_heads: str, *, masks: bool, keypoints: bool) -> bool:
        """Whether a config with these is of this kind."""
        if self.meta_arch != meta_arch:
            return False
        if not self.roi_heads:
            return True
        flags = (self.masks, self.keypoints) == (masks, keypoints)
        return roi_heads in self.roi_heads and flags


_BOX_LAYERS = (r"roi_heads\.box_predictor\..+",)
_MASK_LAYERS = (*_BOX_LAYERS, r"roi_heads\.mask_head\.(\d+\.)?predictor\..+")
_KEYPOINT_LAYERS = (*_BOX_LAYERS, r"roi_heads\.keypoint_head\.score_lowres\..+")
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
        marks=("head.cls_score.",),
        class_layers=(r"head\.cls_score\..+",),
    ),
    Kind(
        name="fcos",
        title="FCOS",
        base="Base-FCOS-HRNetV2p.yaml",
        meta_arch="FCOS",
        classes=settings.FCOS_CLASSES,
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
    """The kind of a config; a row of its own, of which little is known, for a user's detector."""
    for kind in KINDS.values():
        if kind.fits(meta_arch, roi_heads, masks=masks, keypoints=keypoints):
            return kind
    return Kind(
        name=meta_arch,
        title=meta_arch,
        base="",
        meta_arch=meta_arch,
        roi_heads=(roi_heads,),
        masks=masks,
        keypoints=keypoints,
        learns=frozenset(),
    )


def recognise_kind(names: Collection[str]) -> Kind | None:
    """The kind of detector that tensors of our names are of; None if they are of none."""

    def has(marks: Iterable[str]) -> bool:
        return all(any(name.startswith(mark) for name in names) for mark in marks)

    fitting = [kind for kind in KINDS.values() if kind.marks and has(kind.marks)]
    return max(fitting, key=lambda kind: len(kind.marks), default=None)


def kind_of(run: RunConfig) -> Kind:
    """The kind of detector that a run is of."""
    return find_kind(**run.model._asdict())
