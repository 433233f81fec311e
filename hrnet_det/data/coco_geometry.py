"""Where the objects of a COCO json lie: in their images, in their boxes, twice."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np

from hrnet_det.data.findings import Finding, finding
from hrnet_det.data.mask_shapes import mask_box

ROUNDING = 1  # pixel that a box may lie outside its image
BEYOND = 0.05  # share of boxes beyond their image from which on they are taken for x1, y1, x2, y2
LEAST_IOU = 0.5  # of a box with the bounds of its mask
CONVERT = "COCO's are [x, y, width, height] in pixels"


def misplaced(content: dict) -> Iterator[Finding]:
    """Findings about the boxes of content whose values are all allowed."""
    rows = content["annotations"]
    if not rows or not content["images"]:
        return
    sizes = {row["id"]: (row["width"], row["height"]) for row in content["images"]}
    boxes = np.array([row["bbox"] for row in rows], dtype=np.float64)
    images = np.array([sizes[row["image_id"]] for row in rows], dtype=np.float64)
    if np.all(boxes <= 1) and np.all(images > 2 * boxes.max()):
        what = f"have boxes from 0 to 1, as shares of the image: {CONVERT}; multiply by its sides"
        yield from finding("error", "boxes-normalised", rows, rows, what)
        return
    outer = boxes[:, :2] + boxes[:, 2:]
    beyond = np.any(outer > images + ROUNDING, axis=1)
    as_corners = np.all((boxes[:, 2:] > boxes[:, :2]) & (boxes[:, 2:] <= images + ROUNDING), axis=1)
    if beyond.mean() > BEYOND and as_corners.mean() > 1 - BEYOND:
        what = (
            f"reach beyond their image, and {as_corners.sum()} fit as corners x1, y1, x2, y2: "
            f"{CONVERT}, so write [x1, y1, x2 - x1, y2 - y1]"
        )
        yield from finding("error", "boxes-xyxy", _chosen(rows, beyond), rows, what)
        return
    outside = np.any((boxes[:, :2] >= images) | (outer <= 0), axis=1)
    what = "have a 'bbox' that lies outside their image: correct or remove them"
    yield from finding("error", "boxes-outside", _chosen(rows, outside), rows, what)
    partly = (beyond | np.any(boxes[:, :2] < -ROUNDING, axis=1)) & ~outside
    what = "have a 'bbox' that reaches beyond their image by more than a pixel: it is cut there"
    yield from finding("warning", "boxes-partly-outside", _chosen(rows, partly), rows, what)
    yield from _far_masks(rows, boxes, images)


def _far_masks(rows: list[dict], boxes: np.ndarray, images: np.ndarray) -> Iterator[Finding]:
    """Masks outside their images, (N, 2) width and height, or elsewhere than their boxes."""
    bounds = [
        None if row.get("iscrowd") else mask_box(row.get("segmentation"), checked=True)
        for row in rows
    ]
    has = np.array([found is not None for found in bounds])
    if not has.any():
        return
    masks = np.array([found for found in bounds if found is not None])
    outside = np.zeros(len(rows), dtype=bool)
    limits = images[has] * 2
    low, high = masks[:, :2], masks[:, :2] + masks[:, 2:]
    outside[has] = np.any((low < -images[has]) | (high > limits), axis=1)
    what = (
        "have a 'segmentation' that reaches beyond their image by more than the image's size: "
        "correct or remove them"
    )
    yield from finding("error", "masks-outside", _chosen(rows, outside), rows, what)
    far = np.zeros(len(rows), dtype=bool)
    far[has] = _iou(masks, boxes[has]) < LEAST_IOU
    what = (
        f"have a 'segmentation' whose bounds have an IoU under {LEAST_IOU} with their 'bbox': one "
        "of the two is wrong, such as of another scale"
    )
    severity = "error" if far.sum() > has.sum() / 2 else "warning"
    yield from finding(severity, "mask-far-from-box", _chosen(rows, far), rows, what)


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of pairs of boxes x, y, width, height, (N, 4); polygons may end a pixel before their box."""
    low = np.maximum(a[:, :2], b[:, :2])
    high = np.minimum(a[:, :2] + a[:, 2:] + 1, b[:, :2] + b[:, 2:] + 1)
    shared = np.clip(high - low, 0, None).prod(axis=1)
    areas = (a[:, 2:] + 1).prod(axis=1) + (b[:, 2:] + 1).prod(axis=1)
    return shared / (areas - shared)


def outlying_points(content: dict) -> Iterator[Finding]:
    """Visible keypoints outside their image by more than rounding; of crowds none are looked at.

    Detectron2's mapper takes them for unlabelled; COCO's evaluation counts them.
    """
    rows = [r for r in content["annotations"] if r.get("keypoints") and not r.get("iscrowd")]
    sizes = {row["id"]: (row["width"], row["height"]) for row in content["images"]}
    numbers = itertools.chain.from_iterable(row["keypoints"] for row in rows)
    points = np.fromiter(numbers, np.float64).reshape(-1, 3)
    row_of = np.repeat(np.arange(len(rows)), [len(row["keypoints"]) // 3 for row in rows])
    images = np.array([sizes[row["image_id"]] for row in rows], np.float64).reshape(-1, 2)[row_of]
    places = points[:, :2]
    outside = np.any((places < -ROUNDING) | (places > images + ROUNDING), axis=1)
    outside &= points[:, 2] > 0
    number, wrong = outside.sum(), [rows[i] for i in np.unique(row_of[outside])]
    what = (
        f"have {number} visible 'keypoints' more than a pixel outside their image, which are not "
        "learned from, but count where it is tested on: give their pixels, or visibility 0"
    )
    yield from finding("warning", "keypoints-outside-image", wrong, content["annotations"], what)


def repeated(content: dict) -> Iterator[Finding]:
    """Objects given twice, and files that are the images of several ids."""
    seen, again = set(), []
    for row in content["annotations"]:
        key = (row["image_id"], row["category_id"], *row["bbox"])
        again += [row] if key in seen else []
        seen.add(key)
    what = "repeat another one's image, category and box: remove the copies"
    yield from finding("warning", "objects-repeated", again, content["annotations"], what)
    by_file = defaultdict(list)
    for row in content["images"]:
        by_file[PurePosixPath(row["file_name"])].append(row)
    shared = [row for same in by_file.values() if len(same) > 1 for row in same]
    what = (
        "are of a file that another id has too: each has only its own objects, so that the other's "
        "count as background; give a file one id"
    )
    yield from finding(
        "warning", "image-ids-of-one-file", shared, content["images"], what, "images"
    )


def _chosen(rows: list[dict], which: np.ndarray) -> list[dict]:
    return [rows[i] for i in np.flatnonzero(which)]
