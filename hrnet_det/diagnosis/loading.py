"""A run's test set and what was detected in it, from the files that its evaluation leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from detectron2.data import MetadataCatalog
from pycocotools import mask as coco_mask

from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.coco_json import no_collection
from hrnet_det.data.dataset_kinds import dataset_kind
from hrnet_det.diagnosis.objects import Evaluated, EvaluatedImage, Objects
from hrnet_det.errors import InputError, shown
from hrnet_det.evaluation.coco import COCOS_LIMIT
from hrnet_det.evaluation.coco_truth import Id, Truth
from hrnet_det.evaluation.predictions import (
    RESULTS,
    Recorded,
    digest,
    json_of,
    predictions_folder,
    recorded_predictions,
)
from hrnet_det.modeling.kinds import kind_of

EVALUATORS = frozenset({"coco", "things"})  # those that leave detections in COCO's format
_NEEDED = {"bbox": ("bbox",), "segm": ("bbox", "segmentation")}  # of a row, by task


def load_evaluated(
    run: RunConfig, dataset: str, task: str, *, augmented: bool = False
) -> Evaluated:
    """A test set and what the last evaluation in the run's folder has detected in it.

    Args:
        dataset: registered in this process.
        task: "bbox" or "segm".
        augmented: what was detected with test-time augmentation.
    Raises: InputError, with the reason in one line, if there are no such detections.
    """
    kind, metadata = dataset_kind(dataset), MetadataCatalog.get(dataset)
    if kind is None or not EVALUATORS & set(kind.evaluators):
        name = metadata.get("evaluator_type", None)
        raise InputError(
            f"the objects found in {dataset} cannot be looked at one by one: its evaluator, "
            f"{name}, does not write them in COCO's format"
        )
    detector = kind_of(run)
    if detector.output in ("proposals", "sem_seg"):
        raise InputError(f"{detector.title} finds no objects with classes that could be looked at")
    recorded = _recorded(run, dataset, augmented=augmented)
    numbers = metadata.get("thing_dataset_id_to_contiguous_id", None)
    names, classes = metadata.get("thing_classes", None), None
    if numbers and names:  # of which stuff may have some too
        classes = {c: names[numbers[c]] for c in sorted(numbers, key=numbers.get)}
    with no_collection():
        return evaluated_from(
            _content(dataset, recorded),
            json.loads((recorded.folder / RESULTS).read_bytes()),
            task=task,
            classes=classes,
            dataset=dataset,
            image_root=str(metadata.get("image_root", "")),
            max_detections=recorded.max_detections,
        )


def _recorded(run: RunConfig, dataset: str, *, augmented: bool) -> Recorded:
    """What the last evaluation has left of a dataset."""
    recorded = recorded_predictions(run, augmented=augmented)
    if dataset in recorded:
        return recorded[dataset]
    others = f" (but of {', '.join(recorded)})" if recorded else ""
    raise InputError(
        f"no evaluation has left what was found in {dataset} in "
        f"{predictions_folder(run, dataset, augmented=augmented)}{others}: {_again(dataset)}"
    )


def _again(dataset: str) -> str:
    return f"evaluate the weights on {dataset} again (--eval-only)"


def _content(dataset: str, recorded: Recorded) -> dict:
    """A dataset's json, which is the one that was evaluated on."""
    path = json_of(dataset, recorded.folder)
    if path is None:
        raise InputError(
            f"the json of {dataset} is not there any more: bring it back, or {_again(dataset)}"
        )
    written = path.read_bytes()
    if digest(written) != recorded.json_sha256:
        raise InputError(f"{path} has changed since the evaluation on it: {_again(dataset)}")
    content = json.loads(written)
    if "annotations" not in content:
        raise InputError(f"{path} has no annotations, so that nothing in it is known to be right")
    return content


def evaluated_from(
    content: Mapping,
    results: Sequence[Mapping],
    *,
    task: str,
    classes: Mapping[Id, str] | None = None,
    dataset: str = "",
    image_root: str = "",
    max_detections: int = COCOS_LIMIT,
) -> Evaluated:
    """A COCO json and results as arrays.

    As in COCO's evaluation annotations of images and categories that the json does not have are
    left out, and images stand in the order of their ids, which decides between equal scores.

    Args:
        content: of the json; results: rows with its ids. Neither is changed.
        task: "bbox" or "segm".
        classes: names by the ids of their categories; objects of other categories are left out.
            None: all categories of the json, in the order of their ids.
    Raises: InputError if a result is of an image or a category that there is not, or if results or
        annotations have not what the task is of.
    """
    truth = Truth(content)
    if classes is None:
        names = {row["id"]: str(row["name"]) for row in content["categories"]}
        classes = {category: names[category] for category in truth.category_numbers}
    files = {row["id"]: row for row in content["images"]}
    images = [_image(files[id_], image_root) for id_ in truth.image_numbers]
    return Evaluated(
        task=task,
        dataset=dataset,
        classes=tuple(classes.values()),
        images=images,
        truth=_true_objects(truth, list(classes), task),
        found=_found_objects(truth, list(classes), task, results),
        max_detections=max_detections,
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
    scores = np.array([row["score"] for row in rows], np.float64)
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
    given = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    sizes = given[:, 2:].copy()
    given[:, 2:] += given[:, :2]
    return given, sizes


def _compressed(mask: Mapping) -> dict:
    """Run lengths whose counts are bytes, as pycocotools reads them fastest."""
    counts = mask["counts"]
    if isinstance(counts, list):
        return coco_mask.frPyObjects(dict(mask), *mask["size"])
    return {"size": mask["size"], "counts": counts.encode() if isinstance(counts, str) else counts}
