"""How mmdetection and its forks match anchors and boxes with objects, and sample them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from detectron2.modeling.matcher import Matcher
from detectron2.modeling.proposal_generator.rpn import RPN
from detectron2.modeling.roi_heads import ROIHeads
from detectron2.structures import Boxes, Instances, pairwise_iou
from detectron2.utils.events import get_event_storage
from detectron2.utils.memory import retry_if_cuda_oom
from torch import Tensor

Batch = list[Instances]  # one of each image
PADDING = 32  # pixels: the sides of an image are padded to a multiple of it
OWN_LOGIT = math.log(1e10)  # objectness of objects' own boxes among proposals, as Detectron2's


class TakeoverMatcher(Matcher):
    """Detectron2's Matcher in which an object may take a box over that matched another one.

    Source: MaxIoUAssigner of mmdetection with match_low_quality: for each object in turn, all boxes
    that share its highest IoU become its own if that is at least `least_iou`.

    Args:
        thresholds, labels: as Detectron2's Matcher.
        least_iou: of such matches.
    Input:  IoUs (objects, boxes), in 0..1.
    Output: (boxes,) int64 index of the object, and (boxes,) int8 label: 1, 0 or -1 (ignored).
    """

    def __init__(self, thresholds: Sequence[float], labels: Sequence[int], least_iou: float):
        super().__init__(list(thresholds), list(labels), allow_low_quality_matches=False)
        self.least_iou = least_iou

    def __call__(self, ious: Tensor) -> tuple[Tensor, Tensor]:
        matches, labels = super().__call__(ious)
        if not ious.numel():
            return matches, labels
        best = ious.max(dim=1, keepdim=True).values
        taken = (ious == best) & (best >= self.least_iou)  # (objects, boxes)
        numbers = torch.arange(1, len(ious) + 1, dtype=torch.int32, device=ious.device)
        last = (taken * numbers[:, None]).max(dim=0).values  # of each box the last object's
        matches = torch.where(last > 0, last.long() - 1, matches)
        return matches, torch.where(last > 0, labels.new_tensor(1), labels)


def usable_anchors(
    anchors: Sequence[Boxes],
    per_cell: Sequence[int],
    size: tuple[int, int],
    border: float,
    *,
    closed: bool,
) -> Tensor:
    """Which anchors an image learns from: (anchors of all levels,) bool.

    An anchor's cell has to begin inside the image with its sides rounded up to PADDING, and the
    anchor itself must not reach `border` pixels beyond the image, unless that is below 0.

    Source: AnchorGenerator.valid_flags and anchor_inside_flags of mmdetection.

    Args:
        anchors: of each level, (rows * columns * per_cell, 4).
        size: height and width of the image in pixels.
        closed: the end of a box is taken to be its last pixel, x2 - 1.
    """
    height, width = (math.ceil(side / PADDING) * PADDING for side in size)
    valid = []
    for level, count in zip(anchors, per_cell, strict=True):
        cells = level.tensor.unflatten(0, (-1, count))
        begin = (cells - cells[:1])[..., :2].round()  # x, y of a cell: whole strides
        valid.append(((begin[..., 0] < width) & (begin[..., 1] < height)).flatten())
    usable = torch.cat(valid)
    if border >= 0:
        boxes = Boxes.cat(list(anchors)).tensor
        end = boxes[:, 2:] - 1 if closed else boxes[:, 2:]
        first = (boxes[:, :2] >= -border).all(dim=1)
        usable &= first & (end < boxes.new_tensor(size[::-1]) + border).all(dim=1)
    return usable


@torch.no_grad()
def label_usable_anchors(
    rpn: RPN, anchors: Sequence[Boxes], targets: Batch, *, closed: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """`RPN.label_and_sample_anchors`, in which unusable anchors take no part in the matching.

    Output: labels (A,) int8 and boxes (A, 4) of each image's matched objects.
    Differs from source: mmdetection 3 ends with an error where an image has no usable anchor, as
        one smaller than the smallest anchors may; here it has no part in the losses.
    """
    everything = Boxes.cat(list(anchors))
    per_cell = rpn.anchor_generator.num_anchors
    labels, boxes = [], []
    for objects in targets:
        size, border = objects.image_size, rpn.anchor_boundary_thresh
        usable = usable_anchors(anchors, per_cell, size, border, closed=closed)
        ious = retry_if_cuda_oom(pairwise_iou)(objects.gt_boxes, everything[usable])
        found = retry_if_cuda_oom(rpn.anchor_matcher)(ious)
        matches, of_usable = (x.to(usable.device) for x in found)
        of_all = of_usable.new_full((len(everything),), -1)
        of_all[usable] = rpn._subsample_labels(of_usable)
        matched = torch.zeros_like(everything.tensor)
        if len(objects):
            matched[usable] = objects.gt_boxes.tensor[matches].to(matched.dtype)
        labels.append(of_all)
        boxes.append(matched)
    return labels, boxes


def sampled_share(labels: Sequence[Tensor], asked: int) -> float:
    """How many anchors were sampled, of the number asked for in each image.

    mmdetection counts one at least of the objects' anchors, and of the others, in an image.
    """
    count = sum(max(int((x == 1).sum()), 1) + max(int((x == 0).sum()), 1) for x in labels)
    return count / (asked * len(labels))


@torch.no_grad()
def match_then_add_objects(heads: ROIHeads, proposals: Batch, targets: Batch) -> Batch:
    """`ROIHeads.label_and_sample_proposals`, where objects' own boxes are added after the matching.

    Source: BaseSampler of mmdetection with add_gt_as_proposals: they come first, each of them
    matched with its object.

    Output: each image's sampled proposals with gt_classes and, if it has objects, gt_boxes etc.
    """
    found, positives, negatives = [], [], []
    for boxes, objects in zip(proposals, targets, strict=True):
        ious = pairwise_iou(objects.gt_boxes, boxes.proposal_boxes)
        matches, labels = heads.proposal_matcher(ious)
        if heads.proposal_append_gt:
            own = torch.arange(len(objects), device=matches.device)
            boxes = Instances.cat([_as_proposals(objects, boxes), boxes])
            matches = torch.cat([own, matches])
            labels = torch.cat([torch.ones_like(own, dtype=labels.dtype), labels])
        chosen, classes = heads._sample_proposals(matches, labels, objects.gt_classes)
        sampled = boxes[chosen]
        sampled.gt_classes = classes
        for name, value in objects.get_fields().items():
            if len(objects) and name.startswith("gt_") and not sampled.has(name):
                sampled.set(name, value[matches[chosen]])
        negatives.append(int((classes == heads.num_classes).sum()))
        positives.append(len(classes) - negatives[-1])
        found.append(sampled)
    storage = get_event_storage()
    storage.put_scalar("roi_head/num_fg_samples", sum(positives) / len(positives))
    storage.put_scalar("roi_head/num_bg_samples", sum(negatives) / len(negatives))
    return found


def _as_proposals(objects: Instances, proposals: Instances) -> Instances:
    """Objects' own boxes with the fields that proposals have."""
    boxes = objects.gt_boxes.tensor.to(proposals.proposal_boxes.tensor.dtype)
    logits = proposals.objectness_logits.new_full((len(objects),), OWN_LOGIT)
    return Instances(proposals.image_size, proposal_boxes=Boxes(boxes), objectness_logits=logits)
