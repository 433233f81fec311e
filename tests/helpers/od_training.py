"""What HRNet-Object-Detection and mmdetection 1 learn from a batch: a naive reference for tests.

Sources: HRNet-Object-Detection (a fork of mmdetection 0.6; Faster, Mask, Cascade R-CNN) and
mmdetection 1.0 (Cascade Mask R-CNN and HTC, by which that project publishes its own), read and
written anew from their definitions in plain torch; nothing here knows hrnet_det or Detectron2.

Boxes are (x1, y1, x2, y2) and closed: they hold their last pixel, so a width is x2 - x1 + 1.
Samples are drawn by torch.randperm: of positive ones, then of negative ones, image by image. They
stay in the order of the draw; the source sorts them, which changes no loss.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import helpers.legacy_reference as reference
import torch
import torch.nn.functional as F
from helpers.legacy_reference import RPN_STDS, STRIDES, Size, Weights
from torch import Tensor
from torchvision.ops import nms

OD = "hrnet_object_detection"
RPN_BETA, ROI_BETA = 1 / 9, 1.0  # below which the smooth L1 loss is a square
RPN_SAMPLES, ROI_SAMPLES = (256, 0.5), (512, 0.25)  # of an image, and the share of positive ones


class Objects(NamedTuple):
    """An image's objects.

    Attributes:
        boxes: (K, 4) float32, closed, in pixels of the resized image.
        labels: (K,) int64, 0 is the first class after the background.
        masks: (K, H, W) uint8, of the resized image with its padding.
    """

    boxes: Tensor
    labels: Tensor
    masks: Tensor


class Batch(NamedTuple):
    """What the detector is given.

    Attributes:
        features: five (N, C, h, w) of STRIDES, over the images padded to one size.
        sizes: (H, W) of each resized image without padding, pixels.
        objects: of each image.
        semantic: (N, h, w) int64 labels of cells of 8 pixels; None without a semantic branch.
    """

    features: Sequence[Tensor]
    sizes: Sequence[Size]
    objects: Sequence[Objects]
    semantic: Tensor | None = None


class Samples(NamedTuple):
    """Boxes (R, 4) of an image, the object of each (-1: background), and whether it is its own."""

    boxes: Tensor
    matches: Tensor
    own: Tensor


def overlaps(objects: Tensor, boxes: Tensor) -> Tensor:
    """IoU (K, R) of closed boxes."""
    first = torch.maximum(objects[:, None, :2], boxes[:, :2])
    last = torch.minimum(objects[:, None, 2:], boxes[:, 2:])
    common = (last - first + 1).clamp(min=0).prod(-1)
    areas = [(b[:, 2:] - b[:, :2] + 1).prod(-1) for b in (objects, boxes)]
    return common / (areas[0][:, None] + areas[1] - common)


def assign(ious: Tensor, positive: float, negative: float, least: float) -> Tensor:
    """For each box of (K, R): its object, -1 for background, -2 for neither.

    Every object takes its best boxes at last, all that are equally good, if their IoU is `least`
    or more; also from another object, and the last object has them.
    """
    best, match = ious.max(dim=0)
    found = torch.full_like(match, -2)
    found[best < negative] = -1
    found[best >= positive] = match[best >= positive]
    for k, row in enumerate(ious):
        if row.max() >= least:
            found[row == row.max()] = k
    return found


def draw(matches: Tensor, count: int, share: float) -> Tensor:
    """Indices of candidates (objects' and background's): at most so many, and so many positive."""
    positive, negative = (matches >= 0).nonzero()[:, 0], (matches == -1).nonzero()[:, 0]
    positive = positive[torch.randperm(len(positive))[: int(count * share)]]
    negative = negative[torch.randperm(len(negative))[: count - len(positive)]]
    return torch.cat([positive, negative])


def deltas(boxes: Tensor, objects: Tensor, stds: Sequence[float]) -> Tensor:
    """(R, 4) targets dx, dy, dw, dh of boxes that learn to become objects."""
    sides, wanted = boxes[:, 2:] - boxes[:, :2] + 1, objects[:, 2:] - objects[:, :2] + 1
    move = (objects[:, :2] + objects[:, 2:] - boxes[:, :2] - boxes[:, 2:]) * 0.5 / sides
    return torch.cat([move, (wanted / sides).log()], dim=1) / boxes.new_tensor(stds)


def smooth_l1(difference: Tensor, beta: float) -> Tensor:
    """Sum over all values."""
    size = difference.abs()
    return torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta).sum()


def anchors_of(stride: int, cells: tuple[int, int]) -> Tensor:
    """(h * w * 3, 4) in the order of rows, columns and RATIOS."""
    y, x = torch.meshgrid(*(torch.arange(n) * stride for n in cells), indexing="ij")
    corners = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
    return (corners + reference.cell_anchors(OD, stride)).reshape(-1, 4)


def rpn_outputs(weights: Weights, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Logits (N, h * w * 3) and deltas (N, h * w * 3, 4) of each level."""
    logits, moves = [], []
    for feature in features:
        hidden = reference._layer(weights, "rpn_head.rpn_conv", feature).relu()
        for name, width, found in (("rpn_cls", 1, logits), ("rpn_reg", 4, moves)):
            out = reference._layer(weights, f"rpn_head.{name}", hidden).permute(0, 2, 3, 1)
            found.append(out.reshape(len(out), -1, width))
    return [x[..., 0] for x in logits], moves


def rpn_losses(batch: Batch, logits: list[Tensor], moves: list[Tensor]) -> dict[str, Tensor]:
    """Anchors that cross the border of their image are left out before the matching."""
    levels = zip(STRIDES, batch.features, strict=True)
    anchors = torch.cat([anchors_of(stride, f.shape[-2:]) for stride, f in levels])
    logits, moves = torch.cat(logits, dim=1), torch.cat(moves, dim=1)
    scores, boxes, sampled = 0, 0, 0
    for i, ((height, width), objects) in enumerate(zip(batch.sizes, batch.objects, strict=True)):
        inside = (anchors[:, :2] >= 0).all(1) & (anchors[:, 2] < width) & (anchors[:, 3] < height)
        matches, found = torch.full((2, len(anchors)), -2)
        matches[inside] = assign(overlaps(objects.boxes, anchors[inside]), 0.7, 0.3, 0.3)
        drawn = draw(matches, *RPN_SAMPLES)
        found[drawn] = matches[drawn]
        used, objects_of = found > -2, found >= 0
        wanted = objects_of[used].to(logits)
        scores += F.binary_cross_entropy_with_logits(logits[i, used], wanted, reduction="sum")
        targets = deltas(anchors[objects_of], objects.boxes[found[objects_of]], RPN_STDS)
        boxes += smooth_l1(moves[i, objects_of] - targets, RPN_BETA)
        sampled += max(int(objects_of.sum()), 1) + max(int((found == -1).sum()), 1)
    return {"loss_rpn_cls": scores / sampled, "loss_rpn_loc": boxes / sampled}


@torch.no_grad()
def proposals(
    batch: Batch, logits: list[Tensor], moves: list[Tensor], top: int = 2000
) -> list[Tensor]:
    """(R, 4) of each image: the best of each level, NMS, then the best of all levels.

    Those whose probabilities are equal when rounded, whose order the source leaves open, are in
    that of their logits.
    """
    results = []
    for i, size in enumerate(batch.sizes):
        boxes, scores = [], []
        levels = zip(STRIDES, batch.features, logits, moves, strict=True)
        for stride, feature, logit, move in levels:
            score, best = logit[i].float().topk(min(top, logit.shape[1]))
            anchors = anchors_of(stride, feature.shape[-2:])[best]
            box = decode(anchors, move[i, best], RPN_STDS, size)
            kept = nms(box + box.new_tensor([0, 0, 1, 1]), score, reference.RPN_NMS)[:top]
            boxes.append(box[kept])
            scores.append(score[kept])
        scores = torch.cat(scores)
        results.append(torch.cat(boxes)[scores.topk(min(top, len(scores))).indices])
    return results


def decode(boxes: Tensor, moves: Tensor, stds: Sequence[float], size: Size) -> Tensor:
    """Boxes (R, 4) moved and clipped to an image; without a gradient, float32."""
    limit = -reference.DELTA_LIMIT
    return reference._decode(boxes, moves.detach().float(), stds, size, limit)[:, 0]


def sample(boxes: Sequence[Tensor], objects: Sequence[Objects], iou: float) -> list[Samples]:
    """Match an image's boxes, add the objects' own, each of which matches its object, and draw."""
    results = []
    for each, its in zip(boxes, objects, strict=True):
        matches = assign(overlaps(its.boxes, each), iou, iou, iou)
        matches = torch.cat([torch.arange(len(its.boxes)), matches])
        own = torch.arange(len(matches)) < len(its.boxes)
        drawn = draw(matches, *ROI_SAMPLES)
        every = torch.cat([its.boxes, each])
        results.append(Samples(every[drawn], matches[drawn], own[drawn]))
    return results


def pool(
    features: Sequence[Tensor], boxes: Sequence[Tensor], bins: int, strides: Sequence[int]
) -> Tensor:
    """RoIAlign of two points a bin on each axis: (R, C, bins, bins) of all images' closed boxes."""
    rois = torch.cat(list(boxes))
    images = torch.cat([torch.full((len(b),), i) for i, b in enumerate(boxes)])
    scales = (rois[:, 2:] - rois[:, :2] + 1).prod(1).sqrt()
    levels = (scales / 56 + 1e-6).log2().floor().clamp(0, len(strides) - 1).long()
    pooled = features[0].new_zeros(len(rois), features[0].shape[1], bins, bins)
    for level, stride in enumerate(strides):
        for image, cells in enumerate(features[level]):
            chosen = ((levels == level) & (images == image)).nonzero()[:, 0]
            roi = rois[chosen].to(cells)
            first, last = roi[:, :2] / stride, (roi[:, 2:] + 1) / stride
            down, across = (
                _parts(first[:, a], last[:, a], bins, cells.shape[2 - a]) for a in (1, 0)
            )
            found = torch.einsum("rph,chw,rqw->rcpq", down, cells, across)
            pooled = pooled.index_copy(0, chosen, found)
    return pooled


def _parts(start: Tensor, end: Tensor, bins: int, cells: int) -> Tensor:
    """(R, bins, cells): what part each cell of an axis has in the mean of a bin's two points."""
    steps = (torch.arange(2 * bins).to(start) + 0.5) / 2
    at = start[:, None] + steps * (end - start).clamp(min=0)[:, None] / bins
    inside = (at >= -1) & (at <= cells)
    at = at.clamp(0, cells - 1)
    lower = at.long()
    upper = (lower + 1).clamp(max=cells - 1)
    parts = start.new_zeros(len(start), 2 * bins, cells)
    for cell, weight in ((lower, 1 - (at - lower)), (upper, at - lower)):
        parts = parts.scatter_add(2, cell[..., None], (weight * inside)[..., None])
    return parts.unflatten(1, (bins, 2)).mean(2)


def crop_targets(samples: Samples, masks: Tensor, side: int = 28) -> Tensor:
    """(P, side, side) of the boxes with objects: whole pixels of the mask, resized by OpenCV."""
    targets, found = [], samples.matches >= 0
    for box, k in zip(samples.boxes[found], samples.matches[found], strict=True):
        x1, y1, x2, y2 = (int(v) for v in box)
        crop = masks[k].numpy()[y1 : max(y2, y1) + 1, x1 : max(x2, x1) + 1]
        targets.append(torch.from_numpy(cv2.resize(crop, (side, side))))
    return torch.stack(targets)
