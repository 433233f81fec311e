"""A small COCO dataset of all that code bases treat differently, and its images."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

CLASSES = ("disc", "bar")
SIZES = {  # height, width in pixels of each image, by its id
    1: (61, 83),
    2: (31, 90),  # a side under 32
    3: (40, 64),  # a crowd alone
    4: (64, 40),  # objects that are left out alone
    5: (50, 50),  # without annotations
    6: (32, 32),
    7: (45, 130),  # the longer side decides the scale
}
UNLABELLED = 255
RING = [[10.3, 8.2, 40.7, 9.1, 38.2, 30.6, 12.4, 28.9]]
PARTS = [
    [2, 2, 20, 2, 20, 14, 2, 14],
    [15.5, 10.5, 44, 12, 43.2, 33.3, 16, 30],
    [50, 40, 58, 40, 54, 47],
]
SLIVER = [[60.1, 20.1, 61.35, 21.3, 61.35, 21.35, 60.15, 20.2]]  # covers no pixel's centre


def _object(image, category, box, segmentation, area=None, **others):
    area = box[2] * box[3] if area is None else area
    found = {"image_id": image, "category_id": category, "bbox": box, "area": area, "iscrowd": 0}
    return found | {"segmentation": segmentation} | others


def _runs(size, rows, columns, *, compressed=False):
    """The run lengths of a rectangle of pixels."""
    mask = np.zeros(size, np.uint8, order="F")
    mask[slice(*rows), slice(*columns)] = 1
    if compressed:
        runs = coco_mask.encode(mask)
        return runs | {"counts": runs["counts"].decode()}
    flat = mask.ravel(order="F")
    ends = [0, *(np.flatnonzero(np.diff(flat)) + 1).tolist(), flat.size]
    counts = np.diff(ends).tolist()
    return {"size": list(size), "counts": counts if not flat[0] else [0, *counts]}


def content():
    """The content of the json."""
    images = [
        {"id": i, "file_name": f"{i}.png", "height": height, "width": width}
        for i, (height, width) in SIZES.items()
    ]
    plain, square = [[3, 3, 20, 3, 20, 25, 3, 25]], [3, 3, 17, 22]
    objects = [
        _object(1, 1, [10.3, 8.2, 30.4, 22.4], RING),
        _object(1, 2, [2, 2, 56, 45], PARTS),
        _object(1, 1, [20, 30, 25, 21], _runs(SIZES[1], (30, 51), (20, 45))),
        _object(1, 2, [5, 7, 9, 31], _runs(SIZES[1], (7, 38), (5, 14), compressed=True)),
        _object(1, 1, [30, 30, 40, 20], _runs(SIZES[1], (30, 50), (30, 70)), iscrowd=1),
        _object(1, 2, [60.1, 20.1, 1.25, 1.25], SLIVER, area=0.2),
        _object(1, 1, [70.25, 50.5, 20.75, 20.5], [[70.25, 50.5, 91, 50.5, 91, 71, 70.25, 71]]),
        _object(1, 1, [-6.5, -3.25, 20, 12.5], [[-6.5, -3.25, 13.5, -3.25, 13.5, 9.25]]),
        _object(1, 2, [40, 10, 0.99, 20], [[40, 10, 40.99, 10, 40.99, 30, 40, 30]]),
        _object(1, 2, [40, 10, 20, 0.5], [[40, 10, 60, 10, 60, 10.5, 40, 10.5]]),
        _object(1, 1, [30, 40, 10, 10], [[30, 40, 40, 40, 40, 50, 30, 50]], area=0),
        _object(1, 1, [90, 10, 10, 10], [[90, 10, 100, 10, 100, 20, 90, 20]]),
        _object(2, 1, square, plain),
        _object(3, 2, [4, 4, 20, 20], _runs(SIZES[3], (4, 24), (4, 24)), iscrowd=1),
        _object(4, 2, [4, 4, 0.5, 20], [[4, 4, 4.5, 4, 4.5, 24, 4, 24]]),
        _object(6, 2, square, plain),
        _object(7, 1, [100.7, 11.1, 22.6, 30.3], [[100.7, 11.1, 123.3, 20.2, 110.5, 41.4]]),
        _object(7, 2, [40.7, 9.1, 22.6, 30.3], [[40.7, 9.1, 63.3, 20.2, 50.5, 39.4]]),
    ]
    annotations = [{"id": number} | found for number, found in enumerate(objects, start=1)]
    categories = [{"id": i, "name": name} for i, name in zip((3, 8), CLASSES, strict=True)]
    for annotation in annotations:
        annotation["category_id"] = categories[annotation["category_id"] - 1]["id"]
    return {"images": images, "annotations": annotations, "categories": categories}


def write(folder):
    """Write annotations.json, images/ of noise and maps/ of semantic labels to a folder."""
    numbers = np.random.default_rng(7)
    (folder / "images").mkdir()
    (folder / "maps").mkdir()
    for i, size in SIZES.items():
        pixels = numbers.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{i}.png")
        labels = numbers.integers(0, 182, size, dtype=np.uint8)
        labels[numbers.random(size) < 0.2] = UNLABELLED
        Image.fromarray(labels).save(folder / "maps" / f"{i}.png")
    (folder / "annotations.json").write_text(json.dumps(content()))
