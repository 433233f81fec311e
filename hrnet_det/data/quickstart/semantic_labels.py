"""What each pixel of a quickstart image is: its class, stuff or thing, and its segment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hrnet_det.data.quickstart.scene import Figure
from hrnet_det.data.quickstart.shapes import CLASSES

GROUND = "ground"  # the one kind of stuff: pixels of no object
GROUND_ID = len(CLASSES) + 1  # its category in COCO's panoptic format
KINDS = ("semantic", "stuff", "panoptic")


def semantic_labels(
    figures: Sequence[Figure], visible: Sequence[np.ndarray], shape: tuple[int, int]
) -> tuple[dict[str, np.ndarray], list[dict]]:
    """Images of labels, and COCO's panoptic segments_info.

    Args:
        figures: what the image shows.
        visible: (H, W) bool of each, the pixels that are seen of it.
        shape: H, W.
    Output: for each of KINDS a uint8 array: "semantic" (H, W), 0 for ground, 1 + number of the
        class; "stuff" (H, W), 0 for objects, 1 for ground; "panoptic" (H, W, 3), whose red is the
        id of the segment: 1 for the ground, 2, 3, ... for the figures. And the segments.
    """
    classes, ids = np.zeros(shape, np.uint8), np.ones(shape, np.uint8)
    segments = []
    for number, (figure, mask) in enumerate(zip(figures, visible, strict=True), start=2):
        segment = {"id": number, **object_fields(figure, mask)}
        classes[mask], ids[mask] = segment["category_id"], number
        segments.append(segment)
    ground = classes == 0
    segments.insert(0, {"id": 1, **mask_fields(ground, GROUND_ID)})
    panoptic = np.stack([ids, np.zeros_like(ids), np.zeros_like(ids)], axis=2)
    return {"semantic": classes, "stuff": ground.astype(np.uint8), "panoptic": panoptic}, segments


def object_fields(figure: Figure, visible: np.ndarray) -> dict:
    """COCO's fields that figures have as objects and as segments."""
    return mask_fields(visible, CLASSES.index(figure.name) + 1, is_crowd=figure.is_crowd)


def mask_fields(mask: np.ndarray, category: int, *, is_crowd: bool = False) -> dict:
    """COCO's fields of a mask: its category, box (left, top, width, height in pixels) and area."""
    ys, xs = np.nonzero(mask)
    left, top = int(xs.min()), int(ys.min())
    return {
        "category_id": category,
        "bbox": [left, top, int(xs.max()) + 1 - left, int(ys.max()) + 1 - top],
        "area": len(xs),
        "iscrowd": int(is_crowd),
    }
