"""The summary of a COCO evaluation, whichever implementation it comes from."""

from __future__ import annotations

import numpy as np
from pycocotools.cocoeval import COCOeval

# Precision or recall, IoU (None: the mean of 0.50:0.95), size, and place in maxDets of each line.
_BY_SIZE = ("small", "medium", "large")
_DETECTIONS = (
    *(("precision", iou, "all", -1) for iou in (None, 0.5, 0.75)),
    *(("precision", None, size, -1) for size in _BY_SIZE),
    *(("recall", None, "all", place) for place in range(3)),
    *(("recall", None, size, -1) for size in _BY_SIZE),
)
_KEYPOINTS = tuple(
    (part, iou, size, -1)
    for part in ("precision", "recall")
    for iou, size in (
        (None, "all"),
        (0.5, "all"),
        (0.75, "all"),
        (None, "medium"),
        (None, "large"),
    )
)


def summarize(evaluation: COCOeval) -> None:
    """Print COCO's lines, and keep their numbers as `evaluation.stats`; -1 without objects.

    Source: COCOeval.summarize of pycocotools, whose lines and numbers these are.
    Differs from source: AP is that of the last of params.maxDets, not always of 100 (keypoints:
        20); it is one for all implementations.

    Args:
        evaluation: accumulated.
    """
    keypoints = evaluation.params.iouType == "keypoints"
    lines = _KEYPOINTS if keypoints else _DETECTIONS
    evaluation.stats = np.array([_line(evaluation, *line) for line in lines])


def _line(evaluation: COCOeval, part: str, iou: float | None, size: str, place: int) -> float:
    params, values = evaluation.params, evaluation.eval[part]
    values = values[..., params.areaRngLbl.index(size), place]
    if iou is not None:
        values = values[np.isclose(params.iouThrs, iou)]
    values = values[values > -1]
    mean = float(np.mean(values)) if values.size else -1.0
    first, last = params.iouThrs[[0, -1]]
    title, short = ("Precision", "AP") if part == "precision" else ("Recall", "AR")
    ious = f"{first:0.2f}:{last:0.2f}" if iou is None else f"{iou:0.2f}"
    print(
        f" {'Average ' + title:<18} ({short}) @[ IoU={ious:<9} | area={size:>6s} | "
        f"maxDets={params.maxDets[place]:>3d} ] = {mean:0.3f}"
    )
    return mean
