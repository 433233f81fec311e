"""Objects that can be trained on, but are probably not what was meant: each kind one Finding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hrnet_det.check_data.objects import Objects
from hrnet_det.data import coco_values as values
from hrnet_det.data.findings import Finding, finding
from hrnet_det.data.mask_shapes import mask_area, polygon_area

LEAST_AREA = 1  # square pixels of a mask: one pixel
LEAST_SHARE = 0.01  # of its box that a mask covers
FLAT_AREA = 0.01  # square pixels: a polygon of less is a line
BESIDE_BOX = 0.1  # of a box's longer side that a keypoint may lie outside


def suspicious_objects(objects: Objects) -> Iterator[Finding]:
    """Masks of nearly nothing, and keypoints in the wrong place, of a json without errors."""
    yield from _empty_masks(objects)
    yield from _misplaced_keypoints(objects)


def _empty_masks(objects: Objects) -> Iterator[Finding]:
    empty, flat = [], []
    for row in objects.rows:
        mask = row.get("segmentation")
        area = mask_area(mask, checked=True)
        if area is None:
            continue
        _, _, width, height = row["bbox"]
        if area < LEAST_AREA or area < LEAST_SHARE * width * height:
            empty.append(row)
        elif isinstance(mask, list) and len(mask) > 1 and min(map(polygon_area, mask)) < FLAT_AREA:
            flat.append(row)
    what = (
        f"have a mask of less than {LEAST_AREA} pixel, or of less than {LEAST_SHARE:.0%} of their "
        "box, from which no mask is learnt: draw them anew or remove them"
    )
    yield from finding("warning", "masks-nearly-empty", empty, objects.rows, what)
    what = (
        f"have a polygon of less than {FLAT_AREA} square pixels among others, whose points lie on "
        "one line: remove these polygons"
    )
    yield from finding("warning", "polygons-flat", flat, objects.rows, what)


def _misplaced_keypoints(objects: Objects) -> Iterator[Finding]:
    """Of the visible ones; those outside the image are not counted again for their box."""
    outside, beside = [], []
    found = objects.statistics
    for row, image, (x0, y0, x1, y1) in zip(objects.rows, found.image_of, found.boxes, strict=True):
        points = row.get("keypoints")
        if not points or not values.are_keypoints(points):
            continue
        x, y, seen = np.reshape(points, (-1, 3)).T
        x, y = x[seen > 0], y[seen > 0]
        height, width = found.sides[image]
        free = BESIDE_BOX * max(x1 - x0, y1 - y0)
        if _beyond(x, 0, width) or _beyond(y, 0, height):
            outside.append(row)
        elif _beyond(x, x0 - free, x1 + free) or _beyond(y, y0 - free, y1 + free):
            beside.append(row)
    what = "have a visible keypoint outside the image: give its pixels, or visibility 0"
    yield from finding("warning", "keypoints-outside-image", outside, objects.rows, what)
    what = (
        f"have a visible keypoint further from their box than {BESIDE_BOX:.0%} of its longer side: "
        "keypoint heads see nothing outside the box"
    )
    yield from finding("warning", "keypoints-outside-box", beside, objects.rows, what)


def _beyond(values: np.ndarray, low: float, high: float) -> bool:
    return bool(np.any((values < low) | (values > high)))
