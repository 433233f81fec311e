"""Copy-paste: objects of another image of the training set, pasted with their masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints

SHARE = 0.5  # probability of each object of the other image to be pasted
HIDDEN = 1  # visibility of a keypoint that is labelled and cannot be seen


class CopyPaste:
    """Pastes objects of a random other image, augmented on its own, onto a mapped image.

    Source: arXiv:2012.07177 section 3: a random subset of the objects; what they cover is cut out
    of the masks beneath them, whose boxes follow; objects of which nothing is left are dropped.
    Differs from source: images of another size are pasted at a random place; edges are not blended
    (which the paper finds to make no difference).

    Args:
        probability: of an image to get objects of another one.
        rows: of the dataset.
    """

    def __init__(self, probability: float, rows: Sequence[dict]) -> None:
        self.probability = probability
        self.rows = rows

    def __call__(self, mapped: dict, map_row: Callable[[dict], dict]) -> None:
        """Paste onto a mapped image, in place; `map_row` makes the other one of a row."""
        if np.random.uniform() >= self.probability:
            return
        other = map_row(self.rows[int(np.random.randint(len(self.rows)))])
        chosen = np.random.uniform(size=len(other["instances"])) < SHARE
        free = np.array(mapped["image"].shape[1:]) - other["image"].shape[1:]
        start = np.random.randint(np.minimum(free, 0), np.maximum(free, 0) + 1)
        other["instances"] = other["instances"][torch.from_numpy(chosen)]
        paste(mapped, other, start)


def paste(mapped: dict, other: dict, start: Sequence[int]) -> None:
    """Paste the objects of an image onto another one, in place.

    Args:
        mapped, other: of a mapper, with bitmasks.
        start: y and x of the other image's corner, in the image's pixels; may be negative.
    """
    beneath, objects = mapped["instances"], other["instances"]
    if not len(objects) or not objects.has("gt_masks"):
        return
    size = beneath.image_size
    into = tuple(slice(max(s, 0), s + n) for s, n in zip(start, objects.image_size, strict=True))
    out_of = tuple(slice(max(-s, 0), max(n - s, 0)) for s, n in zip(start, size, strict=True))
    masks = torch.zeros(len(objects), *size, dtype=torch.bool)
    masks[(..., *into)] = objects.gt_masks.tensor[(..., *out_of)]
    cover = masks.any(dim=0)
    for key in ("image", "sem_seg"):
        if key in mapped and key in other:
            part, new = mapped[key][(..., *into)], other[key][(..., *out_of)]
            mapped[key][(..., *into)] = torch.where(cover[into], new, part)
    pasted = _left(_moved(objects, size, start), objects.gt_masks.tensor, masks)
    if not len(beneath):
        mapped["instances"] = pasted
        return
    if beneath.has("gt_keypoints"):
        _hide_keypoints(beneath.gt_keypoints.tensor, cover)
    before = beneath.gt_masks.tensor
    mapped["instances"] = Instances.cat([_left(beneath, before, before & ~cover), pasted])


def _moved(objects: Instances, size: tuple[int, int], start: Sequence[int]) -> Instances:
    """Objects in the pixels of an image of a size; points outside are no longer labelled."""
    moved = Instances(size, **objects.get_fields())
    y, x = map(int, start)
    moved.gt_boxes = Boxes(objects.gt_boxes.tensor + torch.tensor([x, y, x, y]))
    moved.gt_boxes.clip(size)
    if objects.has("gt_keypoints"):
        points = objects.gt_keypoints.tensor + torch.tensor([x, y, 0])
        end = torch.tensor(size[::-1])
        inside = (points[..., :2] >= 0).all(dim=-1) & (points[..., :2] <= end).all(dim=-1)
        moved.gt_keypoints = Keypoints(points * (inside & (points[..., 2] > 0))[..., None])
    return moved


def _left(objects: Instances, before: torch.Tensor, masks: torch.Tensor) -> Instances:
    """Objects with what is left of their masks, (N, H, W): cut ones have new boxes or are gone."""
    areas = _areas(masks)
    cut = areas != _areas(before)
    boxes = objects.gt_boxes.tensor.clone()
    boxes[cut] = BitMasks(masks[cut]).get_bounding_boxes().tensor
    left = Instances(objects.image_size, **objects.get_fields())
    left.gt_boxes, left.gt_masks = Boxes(boxes), BitMasks(masks)
    return left[areas > 0]


def _areas(masks: torch.Tensor) -> torch.Tensor:
    """Pixels of each mask; torch's sum of truth values is far slower."""
    return torch.tensor([np.count_nonzero(mask) for mask in masks.numpy()], dtype=torch.long)


def _hide_keypoints(points: torch.Tensor, cover: torch.Tensor) -> None:
    """Mark keypoints, (N, K, 3), that are covered, (H, W), as not visible, in place."""
    height, width = cover.shape
    x, y = points[..., 0].long().clamp(0, width - 1), points[..., 1].long().clamp(0, height - 1)
    hidden = cover[y, x] & (points[..., 2] > HIDDEN)
    points[..., 2][hidden] = HIDDEN
