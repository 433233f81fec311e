"""How the code bases of `conventions` train, where no key of the config says it: one class."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class TrainingRules:
    """What a code base learns from, and how; the defaults are Detectron2's rules.

    What Detectron2 or hrnet_det has a key for (smooth L1, box weights, proposals, RoIAlign) is set
    by configs/conventions/ instead.

    Source: mmdetection 3.3 and HRNet-Object-Detection (a fork of mmdetection 1).
    """

    # RPN. A low-quality match is an object's best anchor, whose IoU is below the threshold of
    # objects; it counts from this IoU on.
    rpn_least_iou: float = 0.0
    # An object's best anchors (in RoI heads: boxes) become its own, whatever they matched before;
    # of several such objects the last one has them. Detectron2 keeps each anchor's own best match.
    takes_over: bool = False
    # Before the matching, anchors that lie in the padding beyond the image's size rounded up to 32
    # pixels are dropped, and by MODEL.RPN.BOUNDARY_THRESH from 0 on those across the border.
    # Detectron2 drops the latter after the matching, and the former never.
    drops_anchors_first: bool = False
    # The losses are divided by the number of sampled anchors, not by the number asked for.
    divides_by_sampled: bool = False
    # RoI heads: proposals are matched before the objects' own boxes are added, which match
    # themselves.
    adds_objects_matched: bool = False
    keeps_empty_boxes: bool = False  # a cascade's boxes without width or height stay in training
    # What mask heads learn from: "polygon" (Detectron2's, rasterised in the box), "bitmap" (masks
    # of the resized image, RoIAlign, from 0.5 on) or "crop" (whole pixels, resized by OpenCV).
    mask_targets: str = "polygon"
    # HTC's semantic loss: the sum over the labelled cells, divided by their number or by that of
    # all cells.
    semantic_mean: str = "labelled"
    # Label of the pixels that pad its maps with the images; None for one that counts for nothing.
    semantic_padding: int | None = None
    initial_values: str = "detectron2"  # of all but the backbone: a name of `initial`
    # Objects' boxes are closed: their last pixel, x2 - 1, is what is scaled and mirrored, and what
    # boxes learn from is computed with it.
    closed_boxes: bool = False
    # Data. Images with a side under so many pixels are left out; so are objects with a side under
    # so many pixels, and those that the annotations give no area.
    least_image_side: int = 0
    least_object_side: float = 0.0
    drops_objects_without_area: bool = False
    drops_objects_outside: bool = False  # those whose boxes do not overlap their image
    # Images that had annotations and have no object left are learned from, as background.
    keeps_emptied_images: bool = False

    @property
    def bitmaps(self) -> bool:
        """Whether masks are rasterised in the original image and resized with it."""
        return self.mask_targets != "polygon"


DETECTRON2_RULES = TrainingRules()
MMDET_RULES = TrainingRules(
    rpn_least_iou=0.3,
    takes_over=True,
    drops_anchors_first=True,
    divides_by_sampled=True,
    adds_objects_matched=True,
    keeps_empty_boxes=True,
    mask_targets="bitmap",
    semantic_mean="all",
    initial_values="mmdet",
    least_image_side=32,
    least_object_side=1.0,
    drops_objects_without_area=True,
    drops_objects_outside=True,
    keeps_emptied_images=True,
)
HRNET_OBJECT_DETECTION_RULES = replace(
    MMDET_RULES,
    mask_targets="crop",
    semantic_mean="labelled",
    semantic_padding=0,
    initial_values="mmdet_1",
    closed_boxes=True,
    drops_objects_outside=False,
    keeps_emptied_images=False,
)
