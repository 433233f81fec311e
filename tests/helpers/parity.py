"""Two detectors' outputs side by side: matched one to one, and how far apart they are."""

from typing import NamedTuple

import torch
from torch import Tensor


class Distance(NamedTuple):
    """Largest differences over a one-to-one match: pixels, and of scores."""

    boxes: float
    scores: float
    order: Tensor  # for each of ours the index of theirs


def distance(
    ours: tuple[Tensor, Tensor, Tensor | None], theirs: tuple[Tensor, Tensor, Tensor | None]
) -> Distance:
    """Match detections of the same class one to one, nearest first, and compare them.

    Args:
        ours, theirs: boxes (N, 4), scores (N,) and labels (N,) or None; equally many.
    """
    (boxes, scores, labels), (their_boxes, their_scores, their_labels) = ours, theirs
    assert len(boxes) == len(their_boxes) > 0
    # A box and its score belong together: 1e-3 px weighs as much as 1e-5.
    apart = torch.cdist(boxes.double(), their_boxes.double(), p=float("inf"))
    apart += 100 * (scores.double()[:, None] - their_scores.double()).abs()
    if labels is not None:
        apart += 1e9 * (labels[:, None] != their_labels)
    order = torch.full((len(boxes),), -1)
    free = torch.ones(len(boxes), dtype=torch.bool)
    for i in apart.min(dim=1).values.argsort().tolist():
        order[i] = torch.where(free, apart[i], torch.inf).argmin()
        free[order[i]] = False
    return Distance(
        boxes=(boxes - their_boxes[order]).abs().max().item()
        if labels is None or torch.equal(labels, their_labels[order])
        else float("inf"),
        scores=(scores - their_scores[order]).abs().max().item(),
        order=order,
    )
