"""Soft suppression of overlapping detections, which Detectron2 has none of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

LEAST_SCORE = 1e-3  # mmdetection's min_score: what falls below is dropped


def soft_nms_inference(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[Tensor]]:
    """In place of Detectron2's fast_rcnn_inference: overlapping boxes of a class lose score.

    Source: arXiv:1704.04503 (linear), as soft_nms of mmdetection: the best box of a class is kept;
    the others whose IoU with it is above nms_thresh have their scores multiplied by 1 - IoU, and go
    below 0.001; the best of these is next.

    Args:
        boxes: of each image (R, 4 * classes), or (R, 4) for all classes; clipped, half-open.
        scores: of each image (R, classes + 1), the background last.
        image_shapes: (height, width) that the results get.
        score_thresh: a box of a class counts where its score is above.
        topk_per_image: the best boxes of all classes, by what is left of their scores.
    Output: Instances with pred_boxes, scores, pred_classes, the best first; indices of their rows.
    """
    results, kept = [], []
    for its_boxes, its_scores, shape in zip(boxes, scores, image_shapes, strict=True):
        probabilities, choices = its_scores[:, :-1], its_boxes.unflatten(1, (-1, 4))
        parts = []
        for label in range(probabilities.shape[1]):
            rows = (probabilities[:, label] > score_thresh).nonzero()[:, 0]
            its = choices[rows, label if choices.shape[1] > 1 else 0]
            order, left = soft_nms(its, probabilities[rows, label], nms_thresh)
            parts.append((its[order], left, torch.full_like(order, label), rows[order]))
        found, left, labels, rows = (torch.cat(part) for part in zip(*parts, strict=True))
        best = left.argsort(descending=True, stable=True)[:topk_per_image]
        fields = {"scores": left[best], "pred_classes": labels[best]}
        results.append(Instances(shape, pred_boxes=Boxes(found[best]), **fields))
        kept.append(rows[best])
    return results, kept


def soft_nms(boxes: Tensor, scores: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Indices of the boxes (R, 4) of a class that stay, the best first, and their scores then."""
    ious, left = pairwise_iou(Boxes(boxes), Boxes(boxes)), scores.clone()
    weights = torch.where(ious > threshold, 1 - ious, torch.ones_like(ious))
    order, found = [], []
    while left.any():
        best = int(left.argmax())
        order.append(best)
        found.append(left[best].clone())
        left = left * weights[best]
        left[best] = 0
        left[left < LEAST_SCORE] = 0
    chosen = torch.tensor(order, dtype=torch.long, device=boxes.device)
    return chosen, torch.stack(found) if found else scores[:0]
