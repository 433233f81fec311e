"""A COCO json and what was detected in its images, as arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pycocotools import mask as coco_mask

from hrnet_det.data.coco_json import no_collection
from hrnet_det.diagnosis.objects import Evaluated, EvaluatedImage, Objects
from hrnet_det.errors import InputError, shown
from hrnet_det.evaluation.coco import COCOS_LIMIT
from hrnet_det.evaluation.coco_truth import Id, Truth

_NEEDED = {"bbox": ("bbox",), "segm": ("bbox", "segmentation")}  # of a row, by task


@dataclass(frozen=True)
class Predictions:
    """A test set's COCO json and what was detected in it, for each task of the detector.

    Attributes:
        content: of the json; rows: of detections, with its ids. Neither is changed.
        classes: names by the ids of their categories; objects of other categories are left out.
            None: all categories of the json, in the order of their ids.
        max_detections: of an image and class, that AP is of.
    """

    content: Mapping
    rows: Sequence[Mapping]
    classes: Mapping[Id, str] | None = None
    dataset: str = ""
    image_root: str = ""
    max_detections: int = COCOS_LIMIT

    @cached_property
    def _truth(self) -> Truth:
        return Truth(self.content)

    def evaluated(self, task: str) -> Evaluated:
        """As arrays, for "bbox" or "segm".

        As in COCO's evaluation annotations of images and categories that the json does not have are
        left out, and images stand in the order of their ids, which decides between equal scores.

        Raises: InputError if a detection is of an image or a category that there is not, or if
            detections or annotations have not what the task is of.
        """
        truth, classes = self._truth, self.classes
        if classes is None:
            names = {row["id"]: str(row["name"]) for row in self.content["categories"]}
            classes = {category: names[category] for category in truth.category_numbers}
        files = {row["id"]: row for row in self.content["images"]}
        with no_collection():
            return Evaluated(
                task=task,
                dataset=self.dataset,
                classes=tuple(classes.values()),
                images=[_image(files[id_], self.image_root) for id_ in truth.image_numbers],
                truth=_true_objects(truth, list(classes), task),
                found=_found_objects(truth, list(classes), task, self.rows),
                max_detections=self.max_detections,
            )


def _image(row: Mapping, root: str) -> EvaluatedImage:
    path = os.path.join(root, str(row.get("file_name", "")))
    size = (int(row.get(side) or 0) for side in ("width", "height"))
    return EvaluatedImage(row["id"], path, *size)


def _true_objects(truth: Truth, categories: Sequence[Id], task: str) -> Objects:
    numbers = truth.category_numbers
    places = {numbers[id_]: place for place, id_ in enumerate(categories) if id_ in numbers}
    rows = [row for row in truth.coco.dataset["annotations"] if row["category_id"] in places]
    images = list(truth.image_numbers)  # the ids of numbers 1, 2, 3, ...
    _check(rows, task, lambda row: f"an annotation of image {shown(images[row['image_id'] - 1])}")
    image = np.array([row["image_id"] - 1 for row in rows], np.int64)
    order = np.argsort(image, kind="stable")
    rows = [rows[place] for place in order]
    boxes, sizes = _boxes(rows)
    return Objects(
        image=image[order],
        classes=np.array([places[row["category_id"]] for row in rows], np.int64),
        boxes=boxes,
        sizes=sizes,
        areas=np.array([row["area"] for row in rows], np.float64),
        scores=np.ones(len(rows)),
        crowd=np.array([row["iscrowd"] != 0 for row in rows], bool),
        masks=[_compressed(truth.coco.annToRLE(row)) for row in rows] if task == "segm" else None,
    )


def _found_objects(
    truth: Truth, categories: Sequence[Id], task: str, rows: Sequence[Mapping]
) -> Objects:
    places = {category: place for place, category in enumerate(categories)}
    images = truth.image_numbers
    _check(rows, task, lambda row: f"a detection of image {shown(row['image_id'])}")
    for row in rows:
        if row["image_id"] not in images or row["category_id"] not in places:
            raise InputError(
                f"a detection is of image {shown(row['image_id'])} and category "
                f"{shown(row['category_id'])}, which the dataset's json does not both have: they "
                "are of other data"
            )
    image = np.array([images[row["image_id"]] - 1 for row in rows], np.int64)
    scores = _numbers(rows, "score", 1)[:, 0]
    order = np.lexsort((-scores, image))  # stable: equal scores stay in their order
    rows = [rows[place] for place in order]
    boxes, sizes = _boxes(rows)
    masks, areas = None, sizes[:, 0] * sizes[:, 1]
    if task == "segm":
        masks = [_compressed(row["segmentation"]) for row in rows]
        areas = _areas(masks)
    return Objects(
        image=image[order],
        classes=np.array([places[row["category_id"]] for row in rows], np.int64),
        boxes=boxes,
        sizes=sizes,
        areas=areas,
        scores=scores[order],
        crowd=np.zeros(len(rows), bool),
        masks=masks,
    )


def _areas(masks: Sequence[dict]) -> np.ndarray:
    """(N,) pixels; some at a time, as pycocotools keeps their number in 8 bits."""
    parts = (coco_mask.area(masks[first : first + 255]) for first in range(0, len(masks), 255))
    return np.concatenate([np.zeros(0), *parts])


def _check(rows: Sequence[Mapping], task: str, called: Callable[[Mapping], str]) -> None:
    """Raises: InputError if a row has not what the task is of."""
    for row in rows:
        for key in _NEEDED[task]:
            if not row.get(key):
                raise InputError(f"{called(row)} has no {key}, which the diagnosis of {task} needs")


def _boxes(rows: Sequence[Mapping]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 4) x0, y0, x1, y1 and (N, 2) widths and heights of rows' boxes."""
    given = _numbers(rows, "bbox", 4)
    sizes = given[:, 2:].copy()
    given[:, 2:] += given[:, :2]
    return given, sizes


def _numbers(rows: Sequence[Mapping], key: str, count: int) -> np.ndarray:
    """(N, count) of what each row has. Raises: InputError if one has not so many finite numbers."""
    try:
        found = np.array([row[key] for row in rows], np.float64).reshape(len(rows), count)
    except (TypeError, ValueError):
        found = np.full((1, count), np.nan)
    if not np.isfinite(found).all():
        raise InputError(f"the {key} of an object is not {count} finite number{'s'[: count - 1]}")
    return found


def _compressed(mask: Mapping) -> dict:
    """Run lengths whose counts are bytes, as pycocotools reads them fastest."""
    counts = mask["counts"]
    if isinstance(counts, list):
        return coco_mask.frPyObjects(dict(mask), *mask["size"])
    return {"size": mask["size"], "counts": counts.encode() if isinstance(counts, str) else counts}
