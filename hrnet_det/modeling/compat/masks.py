"""How masks get from a box's grid into the image and back, in the code bases of `conventions`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Boxes, Instances, ROIMasks
from torch import Tensor

from hrnet_det.modeling.backbone.hrnetv2 import resized
from hrnet_det.modeling.compat.mask_targets import CUTS, MaskTargets
from hrnet_det.modeling.compat.training_rules import TrainingRules


def paste_masks(
    probabilities: Tensor, boxes: Tensor, height: int, width: int, method: str
) -> Tensor:
    """Masks in the image from masks in their boxes.

    Args:
        probabilities: (N, M, M), of the pixels of each box's grid.
        boxes: (N, 4), half-open, in the image's pixels, whose size is height and width.
        method: `Conventions.mask_paste`. "grid" samples each pixel's centre (Detectron2 and
            mmdetection 2 and later). "box" resizes the mask to the pixels between the floored
            closed corners (mmdetection 1.x). "padded_box" does so with a border of a cell of
            zeros, around a box enlarged by it (Detectron1, maskrcnn-benchmark).
    Output: (N, height, width) bool, probability of a pixel over 0.5.
    Differs from source: an empty box's mask is empty; mmdetection, which divides by its width of
        zero, gives it some pixels.
    """
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    if method != "grid":
        _fill_whole_pixels(masks, probabilities, boxes, method == "padded_box")
        return masks
    full = Boxes(boxes).nonempty()  # an empty one has no grid
    if full.any():
        pasted = ROIMasks(probabilities[full]).to_bitmasks(Boxes(boxes[full]), height, width, 0.5)
        masks[full] = pasted.tensor
    return masks


def masks_to_learn(
    objects: Instances, rules: TrainingRules, padded: tuple[int, int] | None
) -> Instances:
    """An image's objects, with masks in the form that the code base crops for its mask heads.

    Source: pad_mask of mmdetection's preprocessor. At the image's border RoIAlign goes on with the
    last pixel of a mask that ends there, and with 0 where it is padded.

    Args:
        padded: height and width of the batch in pixels that masks are padded to; None for none.
    Output: the same objects, or others with other gt_masks.
    """
    masks = objects.gt_masks if objects.has("gt_masks") else None
    if not rules.bitmaps or not isinstance(masks, BitMasks):
        return objects
    bitmaps = masks.tensor
    if padded is not None:
        height, width = bitmaps.shape[1:]
        bitmaps = F.pad(bitmaps, (0, max(padded[1] - width, 0), 0, max(padded[0] - height, 0)))
    found = Instances(objects.image_size, **objects.get_fields())
    found.gt_masks = MaskTargets(bitmaps, CUTS[rules.mask_targets])
    return found


def _fill_whole_pixels(masks: Tensor, probabilities: Tensor, boxes: Tensor, padded: bool) -> None:
    closed = boxes - boxes.new_tensor([0, 0, 1, 1])
    if padded:
        cells = probabilities.shape[-1]
        probabilities = F.pad(probabilities, (1, 1, 1, 1))
        middle = (closed[:, 2:] + closed[:, :2]) / 2
        reach = (closed[:, 2:] - closed[:, :2]) / 2 * ((cells + 2) / cells)
        closed = torch.cat([middle - reach, middle + reach], dim=1)
    height, width = masks.shape[1:]
    for mask, probability, corners in zip(masks, probabilities, closed.int().tolist(), strict=True):
        left, top, right, bottom = corners
        size = (max(bottom - top + 1, 1), max(right - left + 1, 1))
        inside = resized(probability[None, None], size)[0, 0]
        y, x = max(top, 0), max(left, 0)
        part = inside[y - top : height - top, x - left : width - left] > 0.5
        mask[y : y + part.shape[0], x : x + part.shape[1]] = part
