"""The ground truth of a COCO json in the form that every implementation reads alike."""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping

from pycocotools.coco import COCO

from hrnet_det.errors import InputError

Id = int | float | str


class Truth:
    """A COCO json's content with ids of its own: 1, 2, 3, ...

    The fast implementations read other ids wrongly without a word: negative ones, those over 32
    or 63 bits; pycocotools does so with 0 and with one id for two annotations. Images and
    categories keep their order, which decides between equal scores.

    Args:
        content: of a COCO json; it is not changed. Annotations that do not say so are no crowds
            and as large as their box, and their visible keypoints are counted.
    Attributes:
        coco: what implementations take.
        image_numbers, category_numbers: its ids by those of the json.
    """

    def __init__(self, content: dict) -> None:
        self.image_numbers = _numbers(row["id"] for row in content["images"])
        self.category_numbers = _numbers(row["id"] for row in content["categories"])
        rows = [row for row in content["annotations"] if self._knows(row)]
        values = max((len(row.get("keypoints") or ()) for row in rows), default=0)
        self.coco = _indexed(
            {
                "images": [
                    row | {"id": self.image_numbers[row["id"]]} for row in content["images"]
                ],
                "categories": [
                    row | {"id": self.category_numbers[row["id"]]} for row in content["categories"]
                ],
                "annotations": [
                    self._numbered(_complete(row, values)) | {"id": number}
                    for number, row in enumerate(rows, 1)
                ],
            }
        )

    def _knows(self, row: Mapping) -> bool:
        """Whether a row's image and category are there; an implementation skips others."""
        return row["image_id"] in self.image_numbers and row["category_id"] in self.category_numbers

    def _numbered(self, row: Mapping) -> dict:
        return {
            **row,
            "image_id": self.image_numbers[row["image_id"]],
            "category_id": self.category_numbers[row["category_id"]],
        }

    def images(self, ids: Iterable[Id]) -> list[int]:
        """The numbers of images."""
        return [self.image_numbers[image_id] for image_id in ids]

    def detections(self, results: Iterable[Mapping], task: str) -> COCO:
        """COCO results as what implementations take; there may be none.

        Args:
            results: with the ids of the json; they are not changed.
            task: "bbox", "segm" or "keypoints".
        Raises: InputError if a result is of an image or category that the json does not have.
        """
        rows = []
        for row in results:
            try:
                row = self._numbered(row)
            except KeyError:
                raise InputError(
                    f"a detection is of image {row['image_id']!r} and category "
                    f"{row['category_id']!r}, which the dataset's json does not both have"
                ) from None
            if task == "segm":  # an object's size is then its mask's area, not its box's
                row.pop("bbox", None)
            rows.append(row)
        with contextlib.redirect_stdout(io.StringIO()):
            if rows:
                return self.coco.loadRes(rows)
        return _indexed(self.coco.dataset | {"annotations": []})

    def objects_per_image(self) -> Counter:
        """How many objects, crowds left out, images have that have any, by their number."""
        rows = self.coco.dataset["annotations"]
        return Counter(row["image_id"] for row in rows if not row["iscrowd"])

    def most_of_a_category(self) -> int:
        """The most objects of one category in an image, crowds left out."""
        rows = self.coco.dataset["annotations"]
        pairs = ((r["image_id"], r["category_id"]) for r in rows if not r["iscrowd"])
        return max(Counter(pairs).values(), default=0)


def _numbers(ids: Iterable[Id]) -> dict[Id, int]:
    """1, 2, 3, ... for ids in their order: numbers before text."""
    ordered = sorted(set(ids), key=lambda value: (isinstance(value, str), value))
    return {value: number for number, value in enumerate(ordered, 1)}


def _complete(row: dict, values: int) -> dict:
    """An annotation with what evaluations ask of each; `values` of keypoints where there are any.

    Its crowd flag is a number, which a json may have as text or null.
    """
    row = row | {"iscrowd": int(row.get("iscrowd") or 0)}
    if row.get("area") is None:
        row["area"] = row["bbox"][2] * row["bbox"][3]
    if values:
        row["keypoints"] = row.get("keypoints") or [0] * values
        if row.get("num_keypoints") is None:
            row["num_keypoints"] = sum(visible > 0 for visible in row["keypoints"][2::3])
    return row


def _indexed(dataset: dict) -> COCO:
    coco = COCO()
    coco.dataset = dataset
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco
