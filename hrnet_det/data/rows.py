"""Rows of datasets whose values have their types: whole numbers of a json become floats."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode


def type_datasets(names: Iterable[str]) -> None:
    """Let DatasetCatalog give typed rows of these datasets, whoever has registered them."""
    for name in names:
        load = DatasetCatalog[name]
        if not getattr(load, "is_typed", False):
            DatasetCatalog[name] = _Typed(load)


class _Typed:
    """What loads a dataset's rows, which it types."""

    is_typed = True

    def __init__(self, load: Callable[[], list[dict]]) -> None:
        self.load = load

    def __call__(self) -> list[dict]:
        return [typed(row) for row in self.load()]


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
