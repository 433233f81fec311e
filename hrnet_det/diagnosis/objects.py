"""The objects of a test set, true ones and detections, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Objects:
    """Objects of a test set: those of an image stand together, images in `Evaluated.images`' order.

    Detections of an image stand best first.

    Attributes:
        image: (N,) int64, place of the object's image in `Evaluated.images`.
        classes: (N,) int64, place in `Evaluated.classes`.
        boxes: (N, 4) float64, x0, y0, x1, y1 in pixels.
        areas: (N,) float64, square pixels, by which COCO calls an object small, medium or large.
        scores: (N,) float64; 1 for true objects.
        crowd: (N,) bool: regions of a class whose objects are not told apart; False for detections.
        masks: None, or N of COCO's compressed run lengths {"size": [H, W], "counts": bytes}.
        sizes: (N, 2) float64, width and height of boxes as a json has them: 0.4 + 1.8 - 0.4 is
            above 1.8, so that an IoU of 0.5 would not be reached. None: those of `boxes`.
    """

    image: np.ndarray
    classes: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    scores: np.ndarray
    crowd: np.ndarray
    masks: Sequence[dict] | None = None
    sizes: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.image)

    def of_image(self, number: int) -> slice:
        """The places of the objects of an image."""
        first, end = np.searchsorted(self.image, (number, number + 1))
        return slice(int(first), int(end))


@dataclass(frozen=True)
class EvaluatedImage:
    """An image of a test set: its id in the json, its file, and its size in pixels."""

    id: int | float | str
    path: str
    width: int
    height: int


@dataclass(frozen=True)
class Evaluated:
    """A test set and what was detected in it, for one task.

    Attributes:
        task: "bbox" or "segm": whether objects are compared by boxes or by masks.
        max_detections: of an image and class, the best so many count (COCO's maxDets; `found` may
            have more).
    """

    dataset: str
    task: str
    classes: Sequence[str]
    images: Sequence[EvaluatedImage]
    truth: Objects
    found: Objects
    max_detections: int


@dataclass(frozen=True)
class Pairs:
    """All pairs of a detection and a true object of the same image that overlap, of any classes.

    Attributes:
        found, truth: (P,) int64, places in `Evaluated.found` and `Evaluated.truth`.
        iou: (P,) float64, above 0; with a crowd COCO's: the part of the detection inside it.
    """

    found: np.ndarray
    truth: np.ndarray
    iou: np.ndarray
