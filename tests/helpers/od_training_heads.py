"""The losses of HRNet-Object-Detection's and mmdetection 1's RoI heads: a naive reference.

Sources, and what is a box: as `od_training`. Layers have the sources' names.
"""

import math
from collections.abc import Sequence

import helpers.legacy_reference as reference
import torch
import torch.nn.functional as F
from helpers.legacy_reference import HEAD_STDS, STRIDES, Weights
from helpers.od_training import (
    OD,
    ROI_BETA,
    Batch,
    Samples,
    crop_targets,
    decode,
    deltas,
    pool,
    proposals,
    rpn_losses,
    rpn_outputs,
    sample,
    smooth_l1,
)
from torch import Tensor

STAGE_IOUS, STAGE_WEIGHTS = (0.5, 0.6, 0.7), (1.0, 0.5, 0.25)
SEMANTIC_WEIGHT, UNLABELLED, SEMANTIC_STRIDE = 0.2, 255, 8
_CONVS = [f"convs.{k}.conv" for k in range(4)]


def random_weights(kind: str, *, semantic: int = 0, channels: int = 32, **options: int) -> Weights:
    """As `legacy_reference.random_weights`, also of kind "htc".

    Args:
        semantic: classes of HTC's pixels; 0 for no semantic branch.
    """
    plain = "cascade_mask_rcnn" if kind == "htc" else kind
    weights = reference.random_weights(OD, plain, channels=channels, **options)
    if kind != "htc":
        return weights
    generator = torch.Generator().manual_seed(1)
    shapes = {f"mask_head.{i}.conv_res.conv": (channels, 1) for i in (1, 2)}
    if semantic:
        shapes |= {f"semantic_head.lateral_convs.{k}.conv": (channels, 1) for k in range(5)}
        shapes |= {f"semantic_head.{name}": (channels, 3) for name in _CONVS}
        shapes["semantic_head.conv_embedding.conv"] = channels, 1
        shapes["semantic_head.conv_logits"] = semantic, 1
    for name, (outputs, side) in shapes.items():
        weight = torch.randn(outputs, channels, side, side, generator=generator)
        weights[f"{name}.weight"] = weight * 1.4 / math.sqrt(channels * side**2)
        weights[f"{name}.bias"] = torch.rand(outputs, generator=generator) - 0.5
    return weights


def losses(kind: str, weights: Weights, batch: Batch, *, top: int = 2000) -> dict[str, Tensor]:
    """All losses of a batch, by the names that hrnet_det gives them.

    Args:
        kind: "faster_rcnn", "mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn" or "htc", this one
            with a semantic branch if the batch has labels.
        top: proposals at most, of each level before and after NMS, and of each image.
    """
    logits, moves = rpn_outputs(weights, batch.features)
    found = rpn_losses(batch, logits, moves)
    boxes, embedding = proposals(batch, logits, moves, top), None
    if batch.semantic is not None:
        labels, embedding = semantic_branch(weights, batch.features)
        loss = F.cross_entropy(labels, batch.semantic, ignore_index=UNLABELLED)
        found["loss_sem_seg"] = SEMANTIC_WEIGHT * loss
    many = kind == "htc" or kind.startswith("cascade")
    for stage, iou in enumerate(STAGE_IOUS if many else STAGE_IOUS[:1]):
        samples = sample(boxes, batch.objects, iou)
        head = f"bbox_head.{stage}." if many else "bbox_head."
        of_stage, moves = box_losses(weights, head, batch, samples, embedding, HEAD_STDS[stage])
        if many:
            moved = zip(samples, moves, batch.sizes, strict=True)
            boxes = [
                decode(s.boxes, move, HEAD_STDS[stage], size)[~s.own] for s, move, size in moved
            ]
        if kind == "htc":  # whose mask heads learn from the boxes that the stage has moved
            samples = sample(boxes, batch.objects, iou)
        if kind == "htc" or "mask" in kind:
            heads = [f"mask_head.{i}." for i in range(stage + 1)] if many else ["mask_head."]
            heads = heads if kind == "htc" else heads[-1:]
            of_stage["loss_mask"] = mask_loss(weights, heads, batch, samples, embedding)
        weight, ending = (STAGE_WEIGHTS[stage], f"_stage{stage}") if many else (1.0, "")
        found |= {f"{name}{ending}": weight * value for name, value in of_stage.items()}
    return found


def box_losses(
    weights: Weights,
    head: str,
    batch: Batch,
    samples: Sequence[Samples],
    embedding: Tensor | None,
    stds: Sequence[float],
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The losses, means over all boxes; and by how much each image's boxes move, if all classes
    move them alike."""
    x = _pooled(batch, [s.boxes for s in samples], 7, embedding).flatten(1)
    for name in ("shared_fcs.0", "shared_fcs.1"):
        x = reference._layer(weights, head + name, x).relu()
    scores, moves = (reference._layer(weights, head + name, x) for name in ("fc_cls", "fc_reg"))
    rows, targets = [], []  # row 0 is the background's
    for each, objects in zip(samples, batch.objects, strict=True):
        known = each.matches >= 0
        matches = each.matches[known]
        row = torch.zeros(len(each.boxes), dtype=torch.long)
        row[known] = objects.labels[matches] + 1
        rows.append(row)
        targets.append(deltas(each.boxes[known], objects.boxes[matches], stds))
    row = torch.cat(rows)
    of_objects = moves[row > 0].unflatten(1, (-1, 4))
    chosen = row[row > 0] if of_objects.shape[1] > 1 else torch.zeros_like(row[row > 0])
    moved = of_objects[torch.arange(len(chosen)), chosen]
    found = {
        "loss_cls": F.cross_entropy(scores, row),
        "loss_box_reg": smooth_l1(moved - torch.cat(targets), ROI_BETA) / len(row),
    }
    return found, list(moves.split([len(r) for r in rows]))


def mask_loss(
    weights: Weights,
    heads: Sequence[str],
    batch: Batch,
    samples: Sequence[Samples],
    embedding: Tensor | None,
) -> Tensor:
    """The mean over all cells of the last head, which may take features of those before it."""
    known = [s.matches >= 0 for s in samples]
    boxes = [s.boxes[k] for s, k in zip(samples, known, strict=True)]
    pooled = _pooled(batch, boxes, 14, embedding)
    x = pooled
    for number, head in enumerate(heads):
        if number:
            x = pooled + reference._layer(weights, f"{head}conv_res.conv", x).relu()
        for name in _CONVS:
            x = reference._layer(weights, head + name, x).relu()
    weight, bias = (weights[f"{heads[-1]}upsample.{part}"] for part in ("weight", "bias"))
    x = F.conv_transpose2d(x, weight, bias, stride=2).relu()
    logits = reference._layer(weights, f"{heads[-1]}conv_logits", x)
    labels, targets = [], []
    for each, objects, k in zip(samples, batch.objects, known, strict=True):
        labels.append(objects.labels[each.matches[k]] + 1)
        targets.append(crop_targets(each, objects.masks))
    chosen = logits[torch.arange(len(logits)), torch.cat(labels)]
    return F.binary_cross_entropy_with_logits(chosen, torch.cat(targets).to(chosen))


def semantic_branch(weights: Weights, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits and embedding, both of the level of 8 pixels a cell."""
    size, x = features[1].shape[-2:], 0
    for k, level in enumerate(features):
        level = F.interpolate(level, size, mode="bilinear", align_corners=True)
        x = x + reference._layer(weights, f"semantic_head.lateral_convs.{k}.conv", level).relu()
    for name in _CONVS:
        x = reference._layer(weights, f"semantic_head.{name}", x).relu()
    logits = reference._layer(weights, "semantic_head.conv_logits", x)
    return logits, reference._layer(weights, "semantic_head.conv_embedding.conv", x).relu()


def semantic_cells(labels: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Cells (N, h, w) of images' labels (H, W); what pads them to `size` has label 0."""
    padded = torch.zeros(len(labels), *size, dtype=torch.long)
    for whole, each in zip(padded, labels, strict=True):
        whole[: each.shape[0], : each.shape[1]] = each
    return padded[:, ::SEMANTIC_STRIDE, ::SEMANTIC_STRIDE]


def _pooled(batch: Batch, boxes: Sequence[Tensor], bins: int, embedding: Tensor | None) -> Tensor:
    x = pool(batch.features[:4], boxes, bins, STRIDES[:4])
    if embedding is None:
        return x
    added = pool([embedding], boxes, 14, [SEMANTIC_STRIDE])
    return x + (F.adaptive_avg_pool2d(added, bins) if bins != 14 else added)
