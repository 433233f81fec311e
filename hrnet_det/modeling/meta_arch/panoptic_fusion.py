"""Panoptic segments from Panoptic-DeepLab's maps: classes, centres and offsets of pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Boxes, Instances
from torch import Tensor

from hrnet_det.modeling.segment_ids import VOID

DISTANCES = 2**24  # at most so many at a time, of centres to pixels


def find_centres(heat: Tensor, *, threshold: float, kernel: int, most: int) -> Tensor:
    """Pixels that are the highest ones of the square around them.

    Source: arXiv:1911.10194 section 3.2, and Detectron2's find_instance_center, whose rule it has
    where there are `most` and more: the lowest of the best is left out, with all as low.

    Args:
        heat: (H, W), heights. threshold: what they are above. kernel: side of the square, pixels.
    Output: (K, 2) integers, y and x.
    """
    heat = F.threshold(heat, threshold, -1)[None]
    peaks = F.max_pool2d(heat, kernel, stride=1, padding=(kernel - 1) // 2)
    heat = torch.where(heat == peaks, heat, -1.0)[0]
    best = heat.flatten().topk(min(most, heat.numel())).values
    return torch.nonzero(heat > best[-1].clamp(min=0))


def nearest_centres(centres: Tensor, offsets: Tensor) -> Tensor:
    """For each pixel, the number of the centre next to where its offset points, from 1 on.

    Differs from source (Detectron2's group_pixels): some rows of the image at a time; all at once
    take gigabytes on Cityscapes.

    Args:
        centres: (K, 2), y and x, at least one. offsets: (2, H, W), y and x, pixels.
    Output: (H, W) integers from 1 to K.
    """
    _, height, width = offsets.shape
    columns = torch.arange(width, dtype=offsets.dtype, device=offsets.device)
    rows = torch.arange(height, dtype=offsets.dtype, device=offsets.device)
    count = max(1, DISTANCES // (width * len(centres)))
    found = []
    for part, y in zip(offsets.split(count, dim=1), rows.split(count), strict=True):
        places = torch.stack([part[0] + y[:, None], part[1] + columns], dim=-1)
        distances = torch.norm(centres[:, None, None] - places, dim=-1)
        found.append(distances.argmin(dim=0) + 1)
    return torch.cat(found)


def join(
    labels: Tensor, numbers: Tensor, things: Sequence[int], stuff_area: int
) -> tuple[Tensor, list[dict]]:
    """Segments: objects, each of the class that most of its pixels have, and stuff.

    Source: arXiv:1911.10194 section 3.2; Detectron2's merge_semantic_and_instance.
    Differs from source: segments count from 1 on, with their classes beside them, as Detectron2's
    other panoptic models give them, in the order of their source.

    Args:
        labels: (H, W), the class of each pixel. numbers: (H, W), of its object; 0 for
            none, and wherever the class is no thing.
        things: the classes of objects. stuff_area: pixels that a segment of stuff has at least.
    Output: (H, W) int32 ids, VOID for none, and {"id", "isthing", "category_id", "area"} of each;
        objects of a class also have "instance_id", from 1 on.
    """
    ids = torch.full_like(labels, VOID, dtype=torch.int32)
    segments: list[dict] = []
    counts: Counter[int] = Counter()
    for number in torch.unique(numbers).tolist():
        if number == 0:
            continue
        mask = numbers == number
        category = torch.mode(labels[mask]).values.item()
        counts[category] += 1
        row = {"isthing": True, "instance_id": counts[category]}
        segments.append(_added(ids, mask, len(segments) + 1, category) | row)
    for category in torch.unique(labels).tolist():
        mask = labels == category
        if category not in things and mask.sum() >= stuff_area:
            segments.append(_added(ids, mask, len(segments) + 1, category) | {"isthing": False})
    return ids, segments


def _added(ids: Tensor, mask: Tensor, number: int, category: int) -> dict:
    ids[mask] = number
    return {"id": number, "category_id": category, "area": int(mask.sum())}


def objects_of(
    ids: Tensor, segments: Sequence[dict], probabilities: Tensor, heat: Tensor
) -> Instances:
    """The objects among the segments, best first.

    Their score is the mean probability of their class times the centre's height in their middle.
    Source: Detectron2's PanopticDeepLab.

    Args:
        ids: (H, W). probabilities: (classes, H, W). heat: (H, W).
    """
    things = [segment for segment in segments if segment["isthing"]]
    numbers = torch.tensor([s["id"] for s in things], dtype=ids.dtype, device=ids.device)
    masks = ids == numbers.view(-1, 1, 1)
    scores = heat.new_zeros(len(things))
    for n, segment in enumerate(things):
        middle = masks[n].nonzero().float().mean(dim=0).long()
        sure = probabilities[segment["category_id"]][masks[n]].mean()
        scores[n] = sure * heat[middle[0], middle[1]]
    order = scores.argsort(descending=True, stable=True)
    found = Instances(tuple(ids.shape))
    found.pred_masks = masks[order]
    boxes = BitMasks(masks[order]).get_bounding_boxes() if things else Boxes(scores.new_zeros(0, 4))
    found.pred_boxes, found.scores = boxes.to(ids.device), scores[order]
    classes = [segment["category_id"] for segment in things]
    found.pred_classes = torch.tensor(classes, dtype=torch.long, device=ids.device)[order]
    return found
