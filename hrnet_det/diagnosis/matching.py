"""Which detection finds which true object, as COCO's evaluation has it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnet_det.diagnosis.objects import Evaluated, Objects, Pairs


@dataclass(frozen=True)
class Matches:
    """Which detection finds which true object of its class.

    Attributes:
        threshold: the IoU from which a detection finds an object.
        truth: (N_found,) int64, place of the true object in `Evaluated.truth` that each detection
            has found, or of the crowd that it is in; -1 for none.
        found: (N_truth,) int64, place of the detection in `Evaluated.found` that found each true
            object; -1 for none, and for crowds.
        iou: (N_found,) float64 with that object; 0 for none.
        ignored: (N_found,) bool: neither right nor wrong, as it is in a crowd or after the best
            `Evaluated.max_detections` of its image and class.
    """

    threshold: float
    truth: np.ndarray
    found: np.ndarray
    iou: np.ndarray
    ignored: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(N_found,) bool: detections that have found an object."""
        return (self.truth >= 0) & ~self.ignored

    @property
    def wrong(self) -> np.ndarray:
        """(N_found,) bool: detections that count and have found nothing."""
        return (self.truth < 0) & ~self.ignored


def match(evaluated: Evaluated, pairs: Pairs, iou: float = 0.5) -> Matches:
    """Let each detection, best first, take the true object of its class that it overlaps most.

    Source: COCOeval.evaluateImg of pycocotools, for objects of all sizes. As there a detection
    that finds no free object may be in a crowd, which any number may be, and of equal overlaps the
    last counts.
    """
    truth, found = evaluated.truth, evaluated.found
    beyond = ranks(found) >= evaluated.max_detections
    alike = found.classes[pairs.found] == truth.classes[pairs.truth]
    kept = np.flatnonzero(alike & (pairs.iou >= min(iou, 1 - 1e-10)) & ~beyond[pairs.found])
    crowd = truth.crowd[pairs.truth[kept]]
    # Detections in their order, best first; for each the single objects, then crowds.
    kept = kept[np.lexsort((pairs.truth[kept], crowd, pairs.found[kept]))]
    taken = np.full(len(truth), -1, np.int64)
    partner = np.full(len(found), -1, np.int64)
    overlap = np.zeros(len(found))
    crowds = truth.crowd.tolist()
    for d, g, value in zip(
        pairs.found[kept].tolist(),
        pairs.truth[kept].tolist(),
        pairs.iou[kept].tolist(),
        strict=True,
    ):
        before = partner[d]
        if crowds[g] and before >= 0 and not crowds[before]:
            continue
        if taken[g] >= 0 or value < overlap[d]:
            continue
        if before >= 0 and not crowds[before]:
            taken[before] = -1
        partner[d], overlap[d] = g, value
        if not crowds[g]:
            taken[g] = d
    in_crowd = partner >= 0
    in_crowd[in_crowd] = truth.crowd[partner[in_crowd]]
    return Matches(
        threshold=iou, truth=partner, found=taken, iou=overlap, ignored=beyond | in_crowd
    )


def ranks(objects: Objects) -> np.ndarray:
    """(N,) how many better detections of its class an image has before each; 0 for the best."""
    order = np.lexsort((objects.classes, objects.image))  # stable
    image, classes = objects.image[order], objects.classes[order]
    starts = np.ones(len(order), bool)
    starts[1:] = (image[1:] != image[:-1]) | (classes[1:] != classes[:-1])
    places = np.arange(len(order))
    result = np.empty(len(order), np.int64)
    result[order] = places - np.maximum.accumulate(np.where(starts, places, 0))
    return result
