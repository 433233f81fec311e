"""What mmdetection 1 does after the feature pyramid, beyond HRNet-Object-Detection: for tests.

Source: mmdet/models/detectors/htc.py, mask_heads/fused_semantic_head.py and htc_mask_head.py of
mmdetection 1, and soft_nms_cpu.pyx and the configs of Pedestron, read and written anew in plain
torch. Boxes are closed, as in legacy_reference.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from helpers import legacy_reference as legacy
from helpers.legacy_reference import Size, Trace, Weights
from torch import Tensor

SOURCE = "mmdet1"
SCORE, LEAST_SCORE, OVERLAP = 0.001, 0.001, 0.5
STAGES, SEMANTIC_STRIDE = range(3), 8


def random_weights(
    *, semantic: int, seed: int = 0, channels: int = 32, classes: int = 5, fc: int = 64
) -> Weights:
    """Heads of a Cascade Mask R-CNN, or of a Hybrid Task Cascade, under the source's names.

    Args:
        semantic: classes of its semantic branch; 0: a Cascade Mask R-CNN.
        others: as legacy_reference.random_weights.
    """
    sizes = {"channels": channels, "classes": classes, "fc": fc}
    weights = legacy.random_weights(
        "hrnet_object_detection", "cascade_mask_rcnn", seed=seed, **sizes
    )
    if not semantic:
        return weights
    generator = torch.Generator().manual_seed(seed + 1)
    layers = {f"mask_head.{k}.conv_res.conv": (channels, 1, 1.0) for k in (1, 2)}
    layers |= {f"semantic_head.lateral_convs.{k}.conv": (channels, 1, 1.0) for k in range(5)}
    layers |= {f"semantic_head.convs.{k}.conv": (channels, 3, 1.4) for k in range(4)}
    layers["semantic_head.conv_embedding.conv"] = (channels, 1, 0.5)
    layers["semantic_head.conv_logits"] = (semantic, 1, 1.0)
    for name, (outputs, side, gain) in layers.items():
        weight = torch.randn(outputs, channels, side, side, generator=generator)
        weights[f"{name}.weight"] = weight * gain / math.sqrt(channels * side * side)
        weights[f"{name}.bias"] = torch.rand(outputs, generator=generator) - 0.5
    return weights


def embedding(weights: Weights, features: Sequence[Tensor]) -> Tensor:
    """(1, C, h, w) of the semantic branch, as large as the level of SEMANTIC_STRIDE."""

    def layer(name: str, x: Tensor) -> Tensor:
        return legacy._layer(weights, f"semantic_head.{name}.conv", x).relu()

    size, x = features[1].shape[-2:], 0
    for k, level in enumerate(features):
        if k != 1:
            level = F.interpolate(level, size, mode="bilinear", align_corners=True)
        x = x + layer(f"lateral_convs.{k}", level)
    for k in range(4):
        x = layer(f"convs.{k}", x)
    return layer("conv_embedding", x)


def pool(features: Sequence[Tensor], semantic: Tensor | None, rois: Tensor, bins: int) -> Tensor:
    """(R, C, bins, bins) of the pyramid, with 14 x 14 of the embedding added, or their means."""
    rules = legacy._RULES[SOURCE]
    pooled = legacy._pool(features, rois, bins, rules)
    if semantic is None:
        return pooled
    for r, (x1, y1, x2, y2) in enumerate(rois):
        map_ = semantic[0]
        low, high, part, inside_y = legacy._axis(
            y1 / SEMANTIC_STRIDE, (y2 + 1) / SEMANTIC_STRIDE, 0.0, 14, map_.shape[1]
        )
        map_ = map_[:, low] * (1 - part)[:, None] + map_[:, high] * part[:, None]
        low, high, part, inside_x = legacy._axis(
            x1 / SEMANTIC_STRIDE, (x2 + 1) / SEMANTIC_STRIDE, 0.0, 14, map_.shape[2]
        )
        map_ = map_[:, :, low] * (1 - part) + map_[:, :, high] * part
        map_ = map_ * (inside_y[:, None] & inside_x)
        samples = 28 // bins  # on each side of a bin: 2, or those of 2 x 2 averaged ones
        pooled[r] += map_.reshape(-1, bins, samples, bins, samples).mean((2, 4))
    return pooled


def soft_nms(boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (K, 4) and what is left of their scores, the best first: linear, by closed IoU."""
    rest = [(float(s), box) for s, box in zip(scores, boxes, strict=True)]
    kept = []
    while rest:
        best = max(range(len(rest)), key=lambda k: rest[k][0])
        score, box = rest.pop(best)
        kept.append((score, box))
        if not rest:
            break
        others = torch.stack([other for _, other in rest])
        low = torch.maximum(box[:2], others[:, :2])
        high = torch.minimum(box[2:], others[:, 2:])
        common = (high - low + 1).clamp(min=0).prod(1)
        areas = (others[:, 2:] - others[:, :2] + 1).prod(1)
        overlaps = common / ((box[2:] - box[:2] + 1).prod() + areas - common)
        left = [
            (s * (1 - o) if o > OVERLAP else s, other)
            for (s, other), o in zip(rest, overlaps.tolist(), strict=True)
        ]
        rest = [(s, other) for s, other in left if s >= LEAST_SCORE]
    return torch.stack([box for _, box in kept]), torch.tensor([s for s, _ in kept])


def select(
    boxes: Tensor, scores: Tensor, *, soft: bool, limit: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Threshold and suppression per class of boxes (R, 4) and scores (R, rows); the best ones."""
    parts = []
    for row in range(1, scores.shape[1]):
        good = scores[:, row] > SCORE
        its_boxes, its_scores = boxes[good], scores[good, row]
        if soft:
            its_boxes, its_scores = soft_nms(its_boxes, its_scores)
        else:
            kept = legacy._nms(its_boxes, its_scores, OVERLAP)
            its_boxes, its_scores = its_boxes[kept], its_scores[kept]
        labels = torch.full((len(its_scores),), row - 1)
        parts.append((its_boxes, its_scores, labels))
    boxes, scores, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    order = scores.argsort(descending=True, stable=True)[:limit]
    return boxes[order], scores[order], labels[order]


def masks(weights: Weights, pooled: Tensor, labels: Tensor, *, flow: bool) -> Tensor:
    """(N, 28, 28), the mean of the three heads'; with flow each takes the features before it."""
    each, previous = [], None
    for stage in STAGES:
        name, x = f"mask_head.{stage}", pooled
        if flow and previous is not None:
            x = x + legacy._layer(weights, f"{name}.conv_res.conv", previous).relu()
        for k in range(4):
            x = legacy._layer(weights, f"{name}.convs.{k}.conv", x).relu()
        previous = x
        up = [weights[f"{name}.upsample.{part}"] for part in ("weight", "bias")]
        logits = legacy._layer(
            weights, f"{name}.conv_logits", F.conv_transpose2d(x, *up, stride=2).relu()
        )
        each.append(logits[torch.arange(len(labels)), labels + 1].sigmoid())
    return sum(each) / len(each)


@torch.no_grad()
def detect(
    weights: Weights,
    features: Sequence[Tensor],
    *,
    soft: bool,
    limit: int,
    input_size: Size,
    original_size: Size,
    scale_factor: float,
) -> Trace:
    """Inference from the pyramid to boxes and masks, as legacy_reference.detect.

    Args:
        weights: with a semantic head: a Hybrid Task Cascade.
        soft: overlapping boxes lose score. limit: most detections.
    """
    htc = "semantic_head.conv_logits.weight" in weights
    semantic, rules = embedding(weights, features) if htc else None, legacy._RULES[SOURCE]
    proposals = legacy._proposals(SOURCE, weights, features, input_size)
    rois, logits = proposals, []
    for stage in STAGES:
        names = legacy._names(SOURCE, stage)
        hidden = pool(features, semantic, rois, 7).flatten(1)
        for role in ("fc1", "fc2"):
            hidden = legacy._layer(weights, names[role], hidden).relu()
        logits.append(legacy._layer(weights, names["score"], hidden))
        deltas = legacy._layer(weights, names["delta"], hidden)
        stds = legacy.HEAD_STDS[stage]
        rois = legacy._decode(rois, deltas, stds, input_size, rules.lower_limit)[:, 0]
    scores = (sum(logits) / len(logits)).softmax(1)
    boxes, scores, labels = select(rois / scale_factor, scores, soft=soft, limit=limit)
    rois = boxes * scale_factor
    found = torch.zeros(len(boxes), *original_size, dtype=torch.bool)
    probabilities = masks(weights, pool(features, semantic, rois, 14), labels, flow=htc)
    for n, probability in enumerate(probabilities):
        found[n] = legacy.paste(SOURCE, probability, rois[n] / scale_factor, original_size)
    return Trace(proposals, boxes, scores, labels, found)
