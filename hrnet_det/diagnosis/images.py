"""How well the objects of each image are found, and the images in that order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnet_det.diagnosis.objects import Evaluated
from hrnet_det.diagnosis.outcomes import Outcomes


@dataclass(frozen=True)
class ImageCounts:
    """What is right and wrong in each image of a test set.

    Attributes:
        objects: (N_images,) int64, true objects, crowds left out.
        right: (N_images,) int64, detections that find one.
        wrong: (N_images,) int64, other detections that are kept.
        confused: (N_images,) int64, objects that a detection takes for another class.
        missed: (N_images,) int64, objects that nothing finds: the rest.
        f1: (N_images,) float64 in 0..1; nan where there is nothing and nothing is found.
        worst: places of images, worst first: by F1, then by the number of errors. Those whose F1 is
            nan are left out.
        best: the same images, best first: by F1, then by the number of objects.
    """

    objects: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    confused: np.ndarray
    missed: np.ndarray
    f1: np.ndarray
    worst: np.ndarray
    best: np.ndarray


def image_counts(
    evaluated: Evaluated, outcomes: Outcomes, of_class: int | None = None
) -> ImageCounts:
    """What is right and wrong in each image, with objects of all classes or of one."""
    truth, found = evaluated.truth, evaluated.found

    def count(objects: np.ndarray, chosen: np.ndarray, classes: np.ndarray) -> np.ndarray:
        chosen = chosen if of_class is None else chosen & (classes == of_class)
        return np.bincount(objects[chosen], minlength=len(evaluated.images))

    true = truth.image, truth.classes
    detected = found.image, found.classes
    objects = count(true[0], ~truth.crowd, true[1])
    right = count(detected[0], outcomes.right, detected[1])
    wrong = count(detected[0], outcomes.wrong, detected[1])
    with np.errstate(invalid="ignore"):
        f1 = 2 * right / (objects + right + wrong)
    measured = np.flatnonzero(~np.isnan(f1))
    errors = wrong + objects - right
    worst = np.lexsort((-errors[measured], f1[measured]))
    best = np.lexsort((-objects[measured], -f1[measured]))
    return ImageCounts(
        objects=objects,
        right=right,
        wrong=wrong,
        confused=count(true[0], outcomes.confused, true[1]),
        missed=count(true[0], outcomes.missed, true[1]),
        f1=f1,
        worst=measured[worst],
        best=measured[best],
    )
