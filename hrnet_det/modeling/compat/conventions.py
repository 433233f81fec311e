"""What detectors of other code bases compute differently from Detectron2: one table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.training_rules import (
    DETECTRON2_RULES,
    HRNET_OBJECT_DETECTION_RULES,
    MMDET_RULES,
    TrainingRules,
)
from hrnet_det.modeling.kinds import KINDS, Kind


@dataclass(frozen=True)
class Conventions:
    """How a code base turns the outputs of the heads into boxes and masks, and how it trains.

    Boxes are half-open everywhere here, (x1, y1, x2, y2) with width x2 - x1. The older code bases
    have closed ones, of width x2 - x1 + 1; with x2 + 1, y2 + 1 for x2, y2 their formulas for
    decoding, area and IoU are the half-open ones. What stays different is here.

    Source: mmdetection 3.3, HRNet-Object-Detection and HRNet-MaskRCNN-Benchmark.
    """

    clamps_shrinking: bool = False  # a box's change of size is limited when it shrinks, too
    averages_logits: bool = False  # a cascade's scores: softmax of the stages' mean logits
    # Boxes whose width or height is 0, after clipping or as closed ones of less than a pixel once
    # they are enlarged, stay among the results.
    keeps_empty_boxes: bool = False
    # The code base's boxes are closed: clipping leaves a box a pixel inside the image, and it is
    # the closed box that is divided by the scale of the image.
    closed_boxes: bool = False
    # What of the unscaled anchor is rounded to whole pixels: "none", "corners" or "sides".
    anchor_rounding: str = "none"
    # Where RoIAlign takes values to lie in their cells: "centre" (Detectron2's), "corner", or
    # "corner_closed": the same with closed boxes at least a cell wide.
    roi_align: str = "centre"
    one_scale: bool = False  # both axes of an image are taken to be resized by the same number
    nms_in_original: bool = False  # classes are suppressed in the original image's pixels
    # "grid" (Detectron2's), "box" (resized to whole pixels of its box) or "padded_box" (the same,
    # with a border of one cell around the mask).
    mask_paste: str = "grid"
    # What of a level FCOS's candidates are chosen by: "classes" (the probability of a class),
    # "products" (with the centerness; the threshold is for the probability alone), or "points" (the
    # points with the largest product, all of whose classes above the threshold stay).
    fcos_candidates: str = "classes"
    # FCOS's points match the object of least area, exactly, and the ends of ranges are within them.
    fcos_exact_matches: bool = False
    training: TrainingRules = DETECTRON2_RULES


DETECTRON2 = "detectron2"
_MMDET = Conventions(
    clamps_shrinking=True,
    averages_logits=True,
    keeps_empty_boxes=True,
    fcos_exact_matches=True,
    training=MMDET_RULES,
)
CONVENTIONS: dict[str, Conventions] = {
    DETECTRON2: Conventions(),
    "mmdet": _MMDET,
    "hrnet_object_detection": replace(
        _MMDET,
        closed_boxes=True,
        anchor_rounding="corners",
        roi_align="corner",
        one_scale=True,
        nms_in_original=True,
        mask_paste="box",
        fcos_candidates="points",
        training=HRNET_OBJECT_DETECTION_RULES,
    ),
    # It trains by the rules of Detectron2, which came from it; FCOS by those of HRNet-FCOS.
    "maskrcnn_benchmark": Conventions(
        keeps_empty_boxes=True,
        closed_boxes=True,
        anchor_rounding="sides",
        roi_align="corner_closed",
        mask_paste="padded_box",
        fcos_candidates="products",
        fcos_exact_matches=True,
    ),
}


def get_conventions(name: str) -> Conventions:
    """A row of CONVENTIONS. Raises: InputError if it is unknown (lists the valid names)."""
    if name not in CONVENTIONS:
        raise InputError(f"unknown MODEL.CONVENTIONS {name!r}; known: {', '.join(CONVENTIONS)}")
    return CONVENTIONS[name]


def check_conventions(kind: Kind, name: str) -> None:
    """Raises: InputError if the name is unknown, or the kind of detector does not follow it."""
    get_conventions(name)
    if name == DETECTRON2 or name in kind.conventions:
        return
    others = ", ".join(other.title for other in KINDS.values() if name in other.conventions)
    allowed = " or ".join((DETECTRON2, *kind.conventions))
    raise InputError(
        f"MODEL.CONVENTIONS {name} is not for {kind.title}: set MODEL.CONVENTIONS {allowed}, or "
        f"take a config of a detector that follows {name} ({others})"
    )
