"""What two older code bases do after the feature pyramid: a naive reference for tests.

Sources: HRNet-Object-Detection (a fork of mmdetection 0.6) and HRNet-MaskRCNN-Benchmark, read and
written anew from their definitions in plain torch; nothing here knows hrnet_det or Detectron2.

Boxes are (x1, y1, x2, y2) and closed: they hold their last pixel, so a width is x2 - x1 + 1.
Where a CPU and a CUDA kernel of a source disagree (NMS: >= and >), CUDA counts: both sources
infer on the GPU only. Batches hold one image.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

SOURCES = {
    "hrnet_object_detection": ("faster_rcnn", "mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn"),
    "maskrcnn_benchmark": ("faster_rcnn", "mask_rcnn"),
}
STRIDES = (4, 8, 16, 32, 64)  # input pixels; RoIs are pooled from the first four
RATIOS = (0.5, 1.0, 2.0)  # height / width of the anchors, whose area is (8 strides)^2
Size = tuple[int, int]  # height, width
Weights = dict[str, Tensor]
RPN_NMS, SCORE, CLASS_NMS, DETECTIONS = 0.7, 0.05, 0.5, 100
DELTA_LIMIT = math.log(1000 / 16)
RPN_STDS = (1.0, 1.0, 1.0, 1.0)
# One row per cascade stage; a plain head has the first.
HEAD_STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
ROLES = ("rpn", "objectness", "anchor_delta", "fc1", "fc2", "score", "delta")
ROLES += ("mask0", "mask1", "mask2", "mask3", "up", "mask_logit")


class Trace(NamedTuple):
    """What `detect` found, in the order of falling scores."""

    proposals: Tensor  # (R, 4) closed boxes of the RPN, input pixels
    boxes: Tensor  # (N, 4) closed, original pixels
    scores: Tensor  # (N,)
    labels: Tensor  # (N,) int64, 0 is the first class after the background
    masks: Tensor | None  # (N, H0, W0) bool in the original image; None without a mask head


class _Rules(NamedTuple):
    """In what the two sources differ between RPN and detections."""

    rpn_top: int  # boxes kept before NMS on each level, after it, and over all levels
    lower_limit: float  # of dw and dh
    roi_end: float  # pixels added to x2, y2 before RoIAlign
    roi_least: float  # smallest side of a RoI, in cells of its map
    roi_unit: float  # pixels that a RoI's side is divided by to find its level


_RULES = {
    "hrnet_object_detection": _Rules(2000, -DELTA_LIMIT, 1.0, 0.0, 56.0),
    "mmdet1": _Rules(1000, -DELTA_LIMIT, 1.0, 0.0, 56.0),  # of mmdet1_reference
    "maskrcnn_benchmark": _Rules(1000, -math.inf, 0.0, 1.0, 224.0),
}


def _names(source: str, stage: int | None) -> dict[str, str]:
    """The source's name of each layer, by its role; `stage` is None without a cascade."""
    i = "" if stage is None else f".{stage}"
    if source != "maskrcnn_benchmark":
        rpn, box, mask = "rpn_head.rpn_", f"bbox_head{i}.", f"mask_head{i}."
        ends = ["conv", "cls", "reg", "shared_fcs.0", "shared_fcs.1", "fc_cls", "fc_reg"]
        ends += [*(f"convs.{k}.conv" for k in range(4)), "upsample", "conv_logits"]
    else:
        rpn, box, mask = "rpn.head.", "roi_heads.box.", "roi_heads.mask."
        ends = ["conv", "cls_logits", "bbox_pred"]
        ends += ["feature_extractor.fc6", "feature_extractor.fc7"]
        ends += ["predictor.cls_score", "predictor.bbox_pred"]
        ends += [f"feature_extractor.mask_fcn{k}" for k in range(1, 5)]
        ends += ["predictor.conv5_mask", "predictor.mask_fcn_logits"]
    starts = [rpn] * 3 + [box] * 4 + [mask] * 6
    return dict(zip(ROLES, map(str.__add__, starts, ends), strict=True))


def _stages(source: str, kind: str) -> list[int | None]:
    """The stages of the box head: three in a cascade, else one that has no number."""
    if kind not in SOURCES.get(source, ()):
        raise ValueError(f"got source {source!r} and kind {kind!r}, known are {SOURCES}")
    return [0, 1, 2] if kind.startswith("cascade") else [None]


def random_weights(
    source: str, kind: str, *, seed: int = 0, channels: int = 32, classes: int = 5, fc: int = 64
) -> Weights:
    """Heads (RPN, boxes, masks) under the names and with the shapes of the source's files.

    Made for features of mean 0 and variance 1: scores spread over the classes, and some dw reach
    the limits (of the first anchor, the first class, a cascade's box).

    Args:
        channels: of the pyramid, the RPN's convolution and the mask convolutions.
        classes: foreground classes; the background is row 0 of scores, deltas and masks.
        fc: width of the two shared layers of the box head.
    Output: {name: float32 tensor}; no bias is 0. Equal arguments give equal values.
    """
    stages, generator, weights = _stages(source, kind), torch.Generator().manual_seed(seed), {}

    def add(name: str, gain: float, outputs: int, inputs: int, side: int | None = None) -> Tensor:
        shape = (outputs, inputs) if side is None else (outputs, inputs, side, side)
        weight = torch.randn(shape, generator=generator).flatten(1)
        weight -= weight.mean(1, keepdim=True)  # the mean of what a ReLU lets through has no effect
        weight *= gain / math.sqrt(weight.shape[1])
        bias = torch.rand(outputs, generator=generator) - 0.5
        bias += 0.05 * bias.sign()
        weights[f"{name}.weight"], weights[f"{name}.bias"] = weight.view(shape), 0.5 * bias
        return weights[f"{name}.weight"]

    c, rows, names = channels, classes + 1, _names(source, None)
    add(names["rpn"], 1.7, c, c, 3)
    add(names["objectness"], 1.0, 3, c, 1)
    weights[f"{names['objectness']}.bias"] -= 2  # sigmoids near 1 would be equal
    add(names["anchor_delta"], 0.3, 12, c, 1)[2] *= 6
    for stage in stages:
        names = _names(source, stage)
        add(names["fc1"], 5.0, fc, 49 * c)  # RoIAlign averages: less variance
        add(names["fc2"], 1.7, fc, fc)
        add(names["score"], 1.0, rows, fc)
        delta = add(names["delta"], 0.4, 4 if stage is not None else 4 * rows, fc)
        weights[f"{names['score']}.bias"][0] = 2.0
        # Two units that few RoIs wake drive dw of the first class, or of all, to its limits.
        weights[f"{names['fc2']}.bias"][:2] = -6.0
        delta[2 if len(delta) == 4 else 6, :2] = delta.new_tensor([1000.0, -1000.0])
        if "mask" in kind:
            for k in range(4):
                add(names[f"mask{k}"], 1.7, c, c, 3)
            add(names["up"], 1.7, c, c, 2)
            add(names["mask_logit"], 3.0, rows, c, 1)
    return weights


def resized_size(source: str, original_size: Size, short: int, long: int) -> Size:
    """(H, W) in pixels of the resized image, before any padding.

    Args:
        original_size: (H0, W0). short, long: the wanted shorter side, the longest longer side.
    """
    height, width = original_size
    if source != "maskrcnn_benchmark":
        factor = od_scale_factor(original_size, short, long)
        return int(height * factor + 0.5), int(width * factor + 0.5)
    low, high = min(height, width), max(height, width)
    if high / low * short > long:
        short = round(long * low / high)
    if low == short:
        return height, width
    if width < height:
        return int(short * height / width), short
    return short, int(short * width / height)


def od_scale_factor(original_size: Size, short: int, long: int) -> float:
    """HRNet-Object-Detection's one factor from original to input pixels, for both axes."""
    return min(long / max(original_size), short / min(original_size))


def cell_anchors(source: str, stride: int) -> Tensor:
    """(3, 4) closed anchors of the cell at the origin, input pixels, in the order of RATIOS.

    HRNet-Object-Detection rounds the corners; HRNet-MaskRCNN-Benchmark rounds the sides of an
    anchor of one stride's area, then multiplies them by 8. Both round halves to even.
    """
    centre, anchors = 0.5 * (stride - 1), []
    for ratio in RATIOS:
        if source != "maskrcnn_benchmark":
            width, height = 8 * stride / math.sqrt(ratio), 8 * stride * math.sqrt(ratio)
        else:
            base = round(math.sqrt(stride * stride / ratio))
            width, height = 8 * base, 8 * round(base * ratio)
        x, y = 0.5 * (width - 1), 0.5 * (height - 1)
        box = [centre - x, centre - y, centre + x, centre + y]
        anchors.append([round(v) for v in box] if source != "maskrcnn_benchmark" else box)
    return torch.tensor(anchors, dtype=torch.float32)


def _decode(
    boxes: Tensor, deltas: Tensor, stds: Sequence[float], size: Size, lower: float
) -> Tensor:
    """Boxes (R, 4) moved by deltas (R, 4n) and clipped to an image of `size`: (R, n, 4)."""
    move, grow = (deltas.unflatten(1, (-1, 4)) * deltas.new_tensor(stds)).split(2, dim=-1)
    first, last = boxes[:, None, :2], boxes[:, None, 2:]
    side = last - first + 1
    centre = (first + last) * 0.5 + side * move
    half = side * grow.clamp(lower, DELTA_LIMIT).exp() * 0.5
    decoded = torch.cat([centre - half + 0.5, centre + half - 0.5], dim=-1)
    end = decoded.new_tensor([size[1] - 1, size[0] - 1] * 2)
    return decoded.clamp(min=0).minimum(end)


def _nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices kept, best first: a box goes if a kept one overlaps it by more than `threshold`."""
    order = scores.argsort(descending=True, stable=True)
    x1, y1, x2, y2 = boxes[order].unbind(1)
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    alive = torch.ones(len(order), dtype=torch.bool)
    for i in range(len(order)):
        if alive[i]:
            width = torch.minimum(x2, x2[i]) - torch.maximum(x1, x1[i]) + 1
            height = torch.minimum(y2, y2[i]) - torch.maximum(y1, y1[i]) + 1
            common = width.clamp(min=0) * height.clamp(min=0)
            alive[i + 1 :] &= ~(common / (areas + areas[i] - common) > threshold)[i + 1 :]
    return order[alive]


def _axis(start: Tensor, end: Tensor, least: float, bins: int, cells: int) -> tuple[Tensor, ...]:
    """RoIAlign's two points a bin on one axis: lower cell, upper cell, its weight, inside."""
    step = (end - start).clamp(min=least) / bins
    index = torch.arange(2 * bins)
    point = start + (index // 2) * step + (index % 2 + 0.5) * step / 2
    inside = (point >= -1) & (point <= cells)
    point = point.clamp(0, cells - 1)
    lower = point.long()
    return lower, (lower + 1).clamp(max=cells - 1), point - lower, inside


def _pool(features: Sequence[Tensor], rois: Tensor, bins: int, rules: _Rules) -> Tensor:
    """RoIAlign without the half-cell shift, each closed RoI (R, 4) from its level: (R, C, b, b)."""
    sides = (rois[:, 2:] - rois[:, :2] + 1).prod(1).sqrt()
    levels = (sides / rules.roi_unit + 1e-6).log2() + math.log2(rules.roi_unit / 56)
    levels = levels.floor().clamp(0, 3).long()
    pooled = rois.new_zeros(len(rois), features[0].shape[1], bins, bins)
    for r, level in enumerate(levels.tolist()):
        cells = features[level][0]
        x1, y1, x2, y2 = (rois[r] + rois.new_tensor([0, 0, 1, 1]) * rules.roi_end) / STRIDES[level]
        low, high, part, inside_y = _axis(y1, y2, rules.roi_least, bins, cells.shape[1])
        cells = cells[:, low] * (1 - part)[:, None] + cells[:, high] * part[:, None]
        low, high, part, inside_x = _axis(x1, x2, rules.roi_least, bins, cells.shape[2])
        cells = cells[:, :, low] * (1 - part) + cells[:, :, high] * part
        cells = cells * (inside_y[:, None] & inside_x)
        pooled[r] = cells.reshape(-1, bins, 2, bins, 2).mean((2, 4))
    return pooled


def _layer(weights: Weights, name: str, x: Tensor) -> Tensor:
    """A fully connected layer, or a convolution that keeps the size."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    if weight.ndim == 2:
        return F.linear(x, weight, bias)
    return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def _proposals(source: str, weights: Weights, features: Sequence[Tensor], size: Size) -> Tensor:
    """(R, 4): per level the best anchors, decoded, then NMS; then the best over all levels."""
    names, rules = _names(source, None), _RULES[source]
    all_boxes, all_scores = [], []
    for feature, stride in zip(features, STRIDES, strict=True):
        hidden = _layer(weights, names["rpn"], feature).relu()
        scores = _layer(weights, names["objectness"], hidden)[0].permute(1, 2, 0).flatten()
        deltas = _layer(weights, names["anchor_delta"], hidden)[0].permute(1, 2, 0).reshape(-1, 4)
        cell, (rows, columns) = cell_anchors(source, stride).to(feature), feature.shape[2:]
        corners = [[x, y, x, y] for y in range(rows) for x in range(columns)]
        anchors = (cell.new_tensor(corners)[:, None] * stride + cell).flatten(0, 1)
        scores, best = scores.sigmoid().topk(min(rules.rpn_top, len(scores)))
        boxes = _decode(anchors[best], deltas[best], RPN_STDS, size, rules.lower_limit)[:, 0]
        kept = _nms(boxes, scores, RPN_NMS)[: rules.rpn_top]
        all_boxes.append(boxes[kept])
        all_scores.append(scores[kept])
    scores = torch.cat(all_scores)
    return torch.cat(all_boxes)[scores.topk(min(rules.rpn_top, len(scores))).indices]


def _select(source: str, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Threshold and NMS per class of boxes (R, rows or 1, 4) and scores (R, rows); the best 100."""
    parts = []
    for row in range(1, scores.shape[1]):
        good = scores[:, row] > SCORE
        its_boxes, its_scores = boxes[good, row if boxes.shape[1] > 1 else 0], scores[good, row]
        kept = _nms(its_boxes, its_scores, CLASS_NMS)
        parts.append((its_boxes[kept], its_scores[kept], torch.full_like(kept, row - 1)))
    boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    order = scores.argsort(descending=True, stable=True)
    if len(order) > DETECTIONS:
        ties = scores[order] >= scores[order[DETECTIONS - 1]]  # equal scores at the end all stay
        order = order[ties] if source == "maskrcnn_benchmark" else order[:DETECTIONS]
    return boxes[order], scores[order], labels[order]


def _scored_boxes(
    source: str, kind: str, weights: Weights, features: Sequence[Tensor], rois: Tensor, size: Size
) -> tuple[Tensor, Tensor]:
    """Boxes (R, rows or 1, 4) and scores (R, rows): softmax of the mean of the stages' logits."""
    all_logits, rules = [], _RULES[source]
    for stds, stage in zip(HEAD_STDS, _stages(source, kind), strict=False):
        names = _names(source, stage)
        hidden = _pool(features, rois, 7, rules).flatten(1)
        hidden = _layer(weights, names["fc1"], hidden).relu()
        hidden = _layer(weights, names["fc2"], hidden).relu()
        all_logits.append(_layer(weights, names["score"], hidden))
        deltas = _layer(weights, names["delta"], hidden)
        boxes = _decode(rois, deltas, stds, size, rules.lower_limit)
        rois = boxes[:, 0]  # of use in a cascade, where all classes share a box
    return boxes, (sum(all_logits) / len(all_logits)).softmax(1)


def _masks(source: str, kind: str, weights: Weights, pooled: Tensor, labels: Tensor) -> Tensor:
    """RoIs (N, C, 14, 14) to the mask of each one's class (N, 28, 28), mean of the stages."""
    each = []
    for stage in _stages(source, kind):
        names, hidden = _names(source, stage), pooled
        for role in ("mask0", "mask1", "mask2", "mask3"):
            hidden = _layer(weights, names[role], hidden).relu()
        weight, bias = (weights[f"{names['up']}.{part}"] for part in ("weight", "bias"))
        hidden = F.conv_transpose2d(hidden, weight, bias, stride=2).relu()
        logits = _layer(weights, names["mask_logit"], hidden)
        each.append(logits[torch.arange(len(labels)), labels + 1].sigmoid())
    return sum(each) / len(each)


def paste(source: str, probability: Tensor, box: Tensor, original_size: Size) -> Tensor:
    """The mask in the original image: (H0, W0) bool.

    Args:
        probability: (28, 28) of one detection. box: (4,) closed, original pixels.
        original_size: (H0, W0).
    HRNet-Object-Detection drops the fractions of the box and has OpenCV resize the mask to it;
    HRNet-MaskRCNN-Benchmark first widens mask and box by a border of one cell of zeros.
    """
    benchmark = source == "maskrcnn_benchmark"
    if benchmark:
        probability = F.pad(probability, (1, 1, 1, 1))
        centre, half = (box[2:] + box[:2]) * 0.5, (box[2:] - box[:2]) * 0.5 * (30 / 28)
        box = torch.cat([centre - half, centre + half])
    x1, y1, x2, y2 = (int(v) for v in box)  # towards 0, also below 0
    width, height = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)
    if benchmark:
        mask = F.interpolate(probability[None, None], (height, width), mode="bilinear")[0, 0]
    else:
        import cv2

        mask = torch.from_numpy(cv2.resize(probability.numpy(), (width, height)))  # bilinear
        x2, y2 = x1 + width - 1, y1 + height - 1
    image = torch.zeros(original_size, dtype=torch.bool)
    top, left = max(y1, 0), max(x1, 0)
    bottom, right = min(y2 + 1, original_size[0]), min(x2 + 1, original_size[1])
    image[top:bottom, left:right] = mask[top - y1 : bottom - y1, left - x1 : right - x1] > 0.5
    return image


@torch.no_grad()
def detect(
    source: str,
    kind: str,
    weights: Weights,
    features: Sequence[Tensor],
    *,
    input_size: Size,
    original_size: Size,
    scale_factor: float | None = None,
) -> Trace:
    """Run the source's inference from the feature pyramid to boxes and masks.

    Args:
        weights: as `random_weights` gives them.
        features: five (1, C, h, w) of STRIDES; they may cover padding right and below.
        input_size: (H, W) of the resized image without padding, pixels.
        original_size: (H0, W0) of the image before resizing, pixels.
        scale_factor: `od_scale_factor`, for HRNet-Object-Detection; unused in the other source,
            which goes back to the original image by one ratio per axis.
    Raises: ValueError for an unknown source or kind, or where a scale factor is missing.
    """
    _stages(source, kind)
    if source != "maskrcnn_benchmark" and scale_factor is None:
        raise ValueError("hrnet_object_detection needs scale_factor, got None")
    proposals = _proposals(source, weights, features, input_size)
    boxes, scores = _scored_boxes(source, kind, weights, features, proposals, input_size)
    if source != "maskrcnn_benchmark":  # NMS in original pixels; masks go back, then forth
        boxes, scores, labels = _select(source, boxes / scale_factor, scores)
        rois = boxes * scale_factor
        paste_boxes = rois / scale_factor
    else:
        rois, scores, labels = _select(source, boxes, scores)
        ratio_y, ratio_x = (o / i for o, i in zip(original_size, input_size, strict=True))
        boxes = paste_boxes = rois * rois.new_tensor([ratio_x, ratio_y, ratio_x, ratio_y])
    if "mask" not in kind:
        return Trace(proposals, boxes, scores, labels, None)
    pooled = _pool(features, rois, 14, _RULES[source])
    masks = torch.zeros(len(boxes), *original_size, dtype=torch.bool)
    for n, probability in enumerate(_masks(source, kind, weights, pooled, labels)):
        masks[n] = paste(source, probability, paste_boxes[n], original_size)
    return Trace(proposals, boxes, scores, labels, masks)
