"""Area and bounds of a mask of a COCO json."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from hrnet_det.data import coco_values as values


def mask_area(mask: object, *, checked: bool = False) -> float | None:
    """Square pixels of polygons (the sum of their areas) or run lengths; None if it is neither.

    Args:
        checked: the mask is of content that has no errors, so that its values are right.
    """
    if not mask or not (checked or _is_whole(mask)):
        return None
    if isinstance(mask, list):
        return float(sum(map(polygon_area, mask)))
    if isinstance(mask["counts"], list):
        return float(sum(mask["counts"][1::2]))
    return float(coco_mask.area(encoded(mask)))


def mask_box(mask: object, *, checked: bool = False) -> list[float] | None:
    """x, y, width, height of polygons or run lengths; None if it is neither. As `mask_area`."""
    if not mask or not (checked or _is_whole(mask)):
        return None
    if isinstance(mask, list):
        x = [value for polygon in mask for value in polygon[::2]]
        y = [value for polygon in mask for value in polygon[1::2]]
        return [float(v) for v in (min(x), min(y), max(x) - min(x), max(y) - min(y))]
    return coco_mask.toBbox(encoded(mask)).tolist()


def _is_whole(mask: list | dict) -> bool:
    """Whether it is polygons or run lengths that fill their own size."""
    if not values.is_segmentation(mask):
        return False
    return isinstance(mask, list) or values.covers(mask, *mask["size"])


def encoded(mask: dict) -> dict:
    """Run lengths as pycocotools decodes them."""
    if isinstance(mask["counts"], list):
        return coco_mask.frPyObjects(mask, *mask["size"])
    return mask | {"counts": mask["counts"].encode()}


def polygon_area(polygon: list[float]) -> float:
    """Square pixels of [x1, y1, x2, y2, ...], by the shoelace formula."""
    points = np.array(polygon, dtype=np.float64).reshape(-1, 2)
    # From its first point on, so that far ones lose no digits; the closing edge then adds nothing.
    x, y = (points - points[0]).T
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]))) / 2
