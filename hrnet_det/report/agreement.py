"""Which predictions find which true objects of an image, for drawing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from detectron2.structures import Instances, pairwise_iou
from pycocotools import mask as coco_mask

from hrnet_det.drawing.colours import distinct_numbers
from hrnet_det.report.image_views import View

SAME_IOU = 0.5
ALONE = -1  # of an object without a partner, and its number of a colour


@dataclass(frozen=True)
class Agreement:
    """The objects of two views, with `colours`, and how many of them belong together."""

    truth: View
    found: View
    right: int = 0
    missed: int = 0
    wrong: int = 0


def agreement(truth: View, found: View, image: np.ndarray | None = None) -> Agreement:
    """Give an object and the prediction that finds it one colour, and the others ALONE.

    Predictions, best first, take the free object of their class with the highest IoU, if it is at
    least SAME_IOU: of masks where both have them, otherwise of boxes.

    Args:
        image: (H, W, 3) uint8, RGB: what the colours are drawn on.
    """
    (true, true_labels), (objects, labels) = truth, found
    if true is None or objects is None:
        return Agreement(truth, found)
    partners = _partners(true, objects)
    numbers = np.full(len(true), ALONE)
    hit = partners[partners != ALONE]
    numbers[hit] = distinct_numbers(true.gt_boxes.tensor.numpy()[hit], image)
    true, objects = true[:], objects[:]  # the arguments stay as they are
    # ALONE, -1, takes the last number, which is added.
    true.colours = torch.from_numpy(numbers)
    objects.colours = torch.from_numpy(np.append(numbers, ALONE)[partners])
    counts = len(hit), len(true) - len(hit), len(objects) - len(hit)
    return Agreement((true, true_labels), (objects, labels), *counts)


def _partners(true: Instances, found: Instances) -> np.ndarray:
    """(N_found,) the number of the true object that each finds, or ALONE."""
    partners = np.full(len(found), ALONE)
    if not len(true) or not len(found):
        return partners
    iou = _overlaps(true, found)
    if found.has("pred_classes") and true.has("gt_classes"):
        iou[found.pred_classes.numpy()[:, None] != true.gt_classes.numpy()] = 0
    for number in range(len(found)):
        best = iou[number].argmax()
        if iou[number, best] >= SAME_IOU:
            partners[number] = best
            iou[:, best] = 0
    return partners


def _overlaps(true: Instances, found: Instances) -> np.ndarray:
    """(N_found, N_true)"""
    if not (true.has("gt_masks") and found.has("pred_masks")):
        return pairwise_iou(found.pred_boxes, true.gt_boxes).numpy()
    rows = [
        [coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8))) for mask in masks]
        for masks in (found.pred_masks, true.gt_masks)
    ]
    return np.asarray(coco_mask.iou(*rows, [0] * len(true)))
