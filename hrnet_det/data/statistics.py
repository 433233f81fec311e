"""What a COCO json's images and objects are like: sizes and numbers, for limits and proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np

PERCENTS = (5, 50, 95)  # those of `Statistics.summary`


@dataclass(frozen=True)
class Statistics:
    """The sizes of a dataset's images and objects; crowds are no objects.

    Args:
        sides: height and width of each image, (I, 2), pixels.
        boxes: x0, y0, x1, y1 of each object, (N, 4), pixels of its image.
        image_of: index of each object's image, (N,).
        class_of: index of each object's class in `classes`, (N,).
        classes: category names in the order of their ids.
    """

    sides: np.ndarray
    boxes: np.ndarray
    image_of: np.ndarray
    class_of: np.ndarray
    classes: tuple[str, ...]

    @classmethod
    def of(cls, content: Mapping[str, Sequence[dict]]) -> Statistics:
        """Those of the content of a COCO json, whose rows have the keys and types of the format.

        Annotations of unknown images or categories are passed over.
        """
        images = {row["id"]: index for index, row in enumerate(content["images"])}
        categories = sorted(content["categories"], key=itemgetter("id"))
        numbers = {row["id"]: index for index, row in enumerate(categories)}
        objects = [
            (row["bbox"], images[row["image_id"]], numbers[row["category_id"]])
            for row in content["annotations"]
            if not row.get("iscrowd", 0)
            and row["image_id"] in images
            and row["category_id"] in numbers
        ]
        sides = [(row["height"], row["width"]) for row in content["images"]]
        boxes = np.array([box for box, _, _ in objects], dtype=np.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return cls(
            np.array(sides, dtype=np.float64).reshape(-1, 2),
            boxes,
            np.array([image for _, image, _ in objects], dtype=np.int64),
            np.array([number for _, _, number in objects], dtype=np.int64),
            tuple(str(row["name"]) for row in categories),
        )

    @property
    def objects_per_image(self) -> np.ndarray:
        """(I,)"""
        return np.bincount(self.image_of, minlength=len(self.sides))

    @property
    def objects_per_class(self) -> np.ndarray:
        """One number for each of `classes`."""
        return np.bincount(self.class_of, minlength=len(self.classes))

    @property
    def most_objects(self) -> int:
        """In one image."""
        return int(self.objects_per_image.max(initial=0))

    @property
    def images_with_objects(self) -> int:
        """What an epoch has: the others are left out of training."""
        return int((self.objects_per_image > 0).sum())

    def factors(self, shortest: float, longest: float) -> np.ndarray:
        """What each image's sides are multiplied by, (I,), when it is resized.

        Args:
            shortest, longest: MIN_SIZE and MAX_SIZE in pixels; a shortest of 0 keeps every size.
        """
        if not shortest:
            return np.ones(len(self.sides))
        return np.minimum(shortest / self.sides.min(1), longest / self.sides.max(1))

    def object_sides(self, shortest: float = 0, longest: float = 0) -> np.ndarray:
        """The root of each box's area, (N,), in pixels of the resized images, as `factors`."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).clip(0).T
        return np.sqrt(width * height) * self.factors(shortest, longest)[self.image_of]

    def summary(self) -> dict[str, object]:
        """What is stored with the weights of a training: plain numbers, sides as in the files.

        "shorter_side", "longer_side" (of images) and "object_side" are the PERCENTS percentiles in
        pixels, [] without images or objects.
        """
        return {
            "images": len(self.sides),
            "objects": len(self.boxes),
            "most_objects": self.most_objects,
            "shorter_side": percentiles(self.sides.min(1), PERCENTS),
            "longer_side": percentiles(self.sides.max(1), PERCENTS),
            "object_side": percentiles(self.object_sides(), PERCENTS),
        }


def percentiles(values: np.ndarray, percents: Sequence[float]) -> list[float]:
    """Values under which so many percent lie, rounded to a tenth; [] of no values."""
    return np.percentile(values, percents).round(1).tolist() if len(values) else []
