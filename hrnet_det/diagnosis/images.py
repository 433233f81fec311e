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
        missed: (N_images,) int64, objects that nothing finds, nor takes for another class.
        f1: (N_images,) float64 in 0..1; nan where there is nothing and nothing is found.
        worst: places of images, worst first: by F1, then by the number of errors. Those whose F1 is
            nan are left out.
        best: the same images, best first: by F1, then by the number of objects.
    """

    objects: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    missed: np.ndarray
    f1: np.ndarray
    worst: np.ndarray
    best: np.ndarray


def image_counts(evaluated: Evaluated, outcomes: Outcomes) -> ImageCounts:
    """What is right and wrong in each image."""
    truth, found = evaluated.truth, evaluated.found

    def count(images: np.ndarray) -> np.ndarray:
        return np.bincount(images, minlength=len(evaluated.images))

    objects = count(truth.image[~truth.crowd])
    right = count(found.image[outcomes.right])
    wrong = count(found.image[outcomes.wrong])
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
        missed=count(truth.image[outcomes.missed]),
        f1=f1,
        worst=measured[worst],
        best=measured[best],
    )
