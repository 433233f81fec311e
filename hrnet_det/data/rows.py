"""Rows of datasets whose values have their types: whole numbers of a json become floats."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog, get_detection_dataset_dicts
from detectron2.data.datasets import load_coco_json
from detectron2.structures import BoxMode

from hrnet_det.data import coco_values as values
from hrnet_det.data.learnable import has_objects, learnable, leaves_out, said
from hrnet_det.errors import InputError, shown
from hrnet_det.modeling.compat.conventions import get_conventions

logger = logging.getLogger("detectron2.hrnet_det")
EXTRA_KEYS = ["area"]  # of a json's annotations, beside those that Detectron2 reads
NEEDED = ("file_name", "height", "width", "image_id")
OF_OBJECTS = ("bbox", "bbox_mode", "category_id")


def type_datasets(names: Iterable[str]) -> None:
    """Let DatasetCatalog give typed rows of these datasets, whoever has registered them."""
    for name in names:
        load = DatasetCatalog[name]
        if not isinstance(load, _Typed):
            DatasetCatalog[name] = _Typed(name, load)


def untyped(load: Callable[[], list[dict]]) -> Callable[[], list[dict]]:
    """What a dataset was registered with, before `type_datasets`."""
    return load.load if isinstance(load, _Typed) else load


def is_coco_json(load: Callable[[], list[dict]]) -> bool:
    """Whether a dataset was registered with Detectron2's register_coco_instances."""
    return getattr(untyped(load), "__qualname__", "").startswith("register_coco_instances.")


def check_rows(name: str) -> None:
    """Check a dataset that the user's own code makes, if it has objects.

    Raises: InputError if rows lack a key or have a value that Detectron2 cannot use, or a class
        that the metadata does not name.
    """
    rows, metadata = DatasetCatalog.get(name), MetadataCatalog.get(name)
    objects = [a for row in rows for a in row.get("annotations", ())]
    if not objects:
        return
    for what, found, keys in (("images", rows, NEEDED), ("annotations", objects, OF_OBJECTS)):
        for key in keys:
            if lacking := sum(key not in row for row in found):
                raise InputError(
                    f"dataset {name}: {lacking} of {len(found)} {what} have no {key!r} "
                    "(https://detectron2.readthedocs.io/en/latest/tutorials/datasets.html)"
                )
    for row in rows:
        for annotation in row.get("annotations", ()):
            for key, (is_right, allowed) in VALUES.items():
                if not is_right(annotation.get(key)):
                    raise InputError(
                        f"dataset {name}: {row['file_name']} has an annotation whose {key!r} "
                        f"{shown(annotation.get(key))} is not {allowed}"
                    )
    classes = metadata.get("thing_classes", ())
    numbers = {annotation["category_id"] for annotation in objects}
    if not numbers <= set(range(len(classes))):
        raise InputError(
            f"dataset {name} has category_id from {min(numbers)} to {max(numbers)}, and its "
            f"metadata {len(classes)} thing_classes: classes count from 0; name all of them by "
            f"MetadataCatalog.get({name!r}).set(thing_classes=[...])"
        )


def rows_to_learn_from(cfg: CfgNode, datasets: Sequence[str]) -> list[dict]:
    """The rows of datasets that a config trains on: with objects, as its conventions choose them.

    Raises: InputError if no image has an object.
    """
    name = cfg.MODEL.CONVENTIONS
    rules, filter_empty = get_conventions(name).training, cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS
    points = cfg.MODEL.ROI_KEYPOINT_HEAD.MIN_KEYPOINTS_PER_IMAGE if cfg.MODEL.KEYPOINT_ON else 0
    why = f" with {points} visible keypoints (MIN_KEYPOINTS_PER_IMAGE)" if points else ""
    try:
        rows = get_detection_dataset_dicts(
            list(datasets),
            filter_empty and not leaves_out(rules),
            min_keypoints=points,
            proposal_files=cfg.DATASETS.PROPOSAL_FILES_TRAIN if cfg.MODEL.LOAD_PROPOSALS else None,
        )
    except AssertionError:  # of a list that is empty
        rows = []
    if rows and leaves_out(rules):
        rows, left_out = learnable(rows, rules, filter_empty=filter_empty)
        if left_out:
            logger.info("MODEL.CONVENTIONS %s leaves out %s.", name, said(left_out))
            why += f" that is left by MODEL.CONVENTIONS {name}, which leaves out {said(left_out)},"
    if not rows or (filter_empty and not has_objects(rows)):
        raise InputError(
            f"DATASETS.TRAIN {', '.join(datasets)}: no image has an object{why} to learn from"
        )
    return rows


def _is_box(value: object) -> bool:
    return _finite(value) and len(value) in (4, 5)  # with an angle


def _are_keypoints(value: object) -> bool:
    return value is None or (_finite(value) and len(value) % 3 == 0)


def _is_mask(value: object) -> bool:
    """None, polygons, run lengths or an array of pixels; pycocotools ends the process at others."""
    if isinstance(value, dict):
        counts = value.get("counts")
        text = counts.decode("ascii", "replace") if isinstance(counts, bytes) else counts
        size = [int(side) for side in value.get("size") or ()]
        mask = {"size": size, "counts": text}
        return values.is_segmentation(mask) and values.covers(mask, *size)
    if isinstance(value, np.ndarray):
        return value.ndim == 2
    if not isinstance(value, (list, tuple)):
        return value is None
    return all(_finite(part) and len(part) >= 6 and len(part) % 2 == 0 for part in value)


def _finite(value: object) -> bool:
    """Whether it is a list, or an array, of coordinates."""
    if values.are_numbers(value):  # which is fast, for what most rows have
        return True
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return numbers.ndim == 1 and bool(np.all(np.abs(numbers) < values.LARGEST))  # nan is not


# Of a row's annotations: what tells right values, and these in words.
VALUES = {
    "bbox": (_is_box, "a list of four finite numbers"),
    "segmentation": (_is_mask, "polygons of finite numbers, or run lengths that fill their size"),
    "keypoints": (_are_keypoints, "a list of finite x, y, visibility"),
}


class _Typed:
    """What loads a dataset's rows, which it types; of a COCO json with EXTRA_KEYS."""

    def __init__(self, name: str, load: Callable[[], list[dict]]) -> None:
        self.name, self.load = name, load

    def __call__(self) -> list[dict]:
        return [typed(row) for row in self._read()]

    def _read(self) -> list[dict]:
        if not is_coco_json(self.load):
            return self.load()
        metadata = MetadataCatalog.get(self.name)
        return load_coco_json(metadata.json_file, metadata.image_root, self.name, EXTRA_KEYS)


def typed(row: dict) -> dict:
    """A row of Detectron2's format whose coordinates are floats, and boxes x0, y0, x1, y1.

    Detectron2 moves coordinates in arrays of the type that they have: it would round those of a
    json with whole numbers down to whole pixels of the resized image. Its BoxMode.convert computes
    in float32; boxes are converted in float64 here.
    """
    row = dict(row)
    if "annotations" in row:
        row["annotations"] = [_typed_annotation(annotation) for annotation in row["annotations"]]
    if "proposal_boxes" in row:
        row["proposal_boxes"] = np.asarray(row["proposal_boxes"], dtype=np.float64)
    return row


def _typed_annotation(annotation: dict) -> dict:
    annotation = dict(annotation)
    if (box := annotation.get("bbox")) is not None:
        box = [float(value) for value in box]
        if annotation["bbox_mode"] == BoxMode.XYWH_ABS:
            x, y, width, height = box
            box, annotation["bbox_mode"] = [x, y, x + width, y + height], BoxMode.XYXY_ABS
        annotation["bbox"] = box
    if isinstance(polygons := annotation.get("segmentation"), list):
        annotation["segmentation"] = [[float(v) for v in polygon] for polygon in polygons]
    if annotation.get("keypoints") is not None:
        annotation["keypoints"] = [float(value) for value in annotation["keypoints"]]
    return annotation
