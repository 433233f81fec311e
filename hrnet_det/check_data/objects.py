"""The objects of a COCO json whose values can be understood."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hrnet_det.data import coco_values as values
from hrnet_det.data.statistics import Statistics


@dataclass(frozen=True)
class Objects:
    """The N objects of a json (no crowds), without rows that cannot be understood.

    Attributes:
        images, rows: the images, and of each object its annotation.
        statistics: of the same images and objects, in the same order.
    """

    images: Sequence[dict]
    rows: Sequence[dict]
    statistics: Statistics

    @classmethod
    def of(cls, content: dict) -> Objects:
        """Those of a json's content, of which every image, category and annotation has an id."""
        images = [
            row
            for row in content["images"]
            if values.is_side(row.get("width")) and values.is_side(row.get("height"))
        ]
        known = {row["id"] for row in images}
        categories = {row["id"] for row in content["categories"]}
        rows = [
            row
            for row in content["annotations"]
            if not row.get("iscrowd")
            and _is_among(row.get("image_id"), known)
            and _is_among(row.get("category_id"), categories)
            and values.is_box(row.get("bbox"))
        ]
        read = {"images": images, "categories": content["categories"], "annotations": rows}
        return cls(images, rows, Statistics.of(read))

    def ids(self, chosen: Iterable[int]) -> dict[str, tuple]:
        """Of some objects, the ids of their images, without repetition, and of the annotations."""
        rows = [self.rows[i] for i in chosen]
        images = dict.fromkeys(row["image_id"] for row in rows)
        return {"images": tuple(images), "annotations": tuple(row["id"] for row in rows)}


def _is_among(value: object, known: set[int]) -> bool:
    return type(value) is int and value in known
