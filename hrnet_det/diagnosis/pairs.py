"""Which detections and true objects overlap."""

from __future__ import annotations

import numpy as np
from pycocotools import mask as coco_mask

from hrnet_det.diagnosis.objects import Evaluated, Pairs


def overlaps(evaluated: Evaluated) -> Pairs:
    """All pairs that overlap, by boxes or by masks as the task says, ordered by detection.

    Source: pycocotools.mask.iou, whose numbers these are. Objects of different classes count too.
    """
    founds, truths, ious = [], [], []
    truth, found = evaluated.truth, evaluated.found
    everywhere = np.arange(len(evaluated.images) + 1)
    of_truth, of_found = (np.searchsorted(side.image, everywhere) for side in (truth, found))
    shapes = [_shapes(evaluated, side) for side in ("found", "truth")]
    for number in np.intersect1d(truth.image, found.image):
        d, g = (slice(*firsts[number : number + 2]) for firsts in (of_found, of_truth))
        iou = coco_mask.iou(shapes[0][d], shapes[1][g], truth.crowd[g].astype(np.uint8))
        rows, columns = np.nonzero(iou > 0)
        founds.append(rows + d.start)
        truths.append(columns + g.start)
        ious.append(iou[rows, columns])
    return Pairs(
        found=np.concatenate([np.zeros(0, np.int64), *founds]),
        truth=np.concatenate([np.zeros(0, np.int64), *truths]),
        iou=np.concatenate([np.zeros(0), *ious]),
    )


def _shapes(evaluated: Evaluated, side: str) -> np.ndarray | list[dict]:
    """What pycocotools compares: (N, 4) x, y, width, height, or run lengths."""
    objects = getattr(evaluated, side)
    if evaluated.task == "segm":
        return objects.masks
    corners, ends = objects.boxes[:, :2], objects.boxes[:, 2:]
    sizes = ends - corners if objects.sizes is None else objects.sizes
    return np.concatenate([corners, sizes], axis=1)
