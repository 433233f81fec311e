"""What mask heads learn from in the code bases of `conventions`: targets cut out of bitmaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from detectron2.layers import ROIAlign
from torch import Tensor

Cut = Callable[[Tensor, Tensor, Tensor, int], Tensor]
_ONE = 2048  # of the whole numbers that stand for weights of 0 to 1


class MaskTargets:
    """Objects' masks as bitmaps, each of which may be the mask of many boxes without a copy.

    Takes the place of Detectron2's BitMasks as `gt_masks` of boxes in training.

    Args:
        bitmaps: (K, H, W) bool, of the resized image.
        cut: one of CUTS.
        objects: (N,) int64, whose mask each box has; None for each bitmap once.
    """

    def __init__(self, bitmaps: Tensor, cut: Cut, objects: Tensor | None = None) -> None:
        self.bitmaps, self.cut = bitmaps, cut
        every = torch.arange(len(bitmaps), device=bitmaps.device)
        self.objects = every if objects is None else objects

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, item: int | slice | Tensor) -> MaskTargets:
        chosen = self.objects[item].reshape(-1)
        return MaskTargets(self.bitmaps, self.cut, chosen)

    @property
    def device(self) -> torch.device:
        return self.bitmaps.device

    def to(self, *to: object, **options: object) -> MaskTargets:
        objects = self.objects.to(*to, **options)
        return MaskTargets(self.bitmaps.to(*to, **options), self.cut, objects)

    def nonempty(self) -> Tensor:
        """(N,) bool, whether a mask has a pixel."""
        return self.bitmaps.flatten(1).any(dim=1)[self.objects]

    @staticmethod
    def cat(several: Sequence[MaskTargets]) -> MaskTargets:
        """Masks of one image's boxes. Raises: ValueError if they are of several images."""
        first = several[0]
        if any(one.bitmaps is not first.bitmaps for one in several):
            raise ValueError("MaskTargets of several images have no common bitmaps")
        return MaskTargets(first.bitmaps, first.cut, torch.cat([one.objects for one in several]))

    def crop_and_resize(self, boxes: Tensor, mask_size: int) -> Tensor:
        """(N, mask_size, mask_size) bool, of (N, 4) half-open boxes in the image's pixels."""
        if len(boxes) != len(self):
            raise ValueError(f"{len(boxes)} boxes for the masks of {len(self)}")
        boxes = boxes.to(self.device)
        if not len(boxes):
            return self.bitmaps.new_zeros(0, mask_size, mask_size)
        return self.cut(self.bitmaps, self.objects, boxes, mask_size)


def sampled(bitmaps: Tensor, objects: Tensor, boxes: Tensor, side: int) -> Tensor:
    """RoIAlign over each cell, from 0.5 on; as Detectron2's BitMasks and mmdetection 2 and later.

    Source: BitmapMasks.crop_and_resize of mmdetection 3.3.
    """
    rois = torch.cat([objects[:, None].to(boxes.dtype), boxes], dim=1)
    align = ROIAlign((side, side), 1.0, 0, aligned=True)
    return align(bitmaps[:, None].to(boxes.dtype), rois)[:, 0] >= 0.5


def cropped(bitmaps: Tensor, objects: Tensor, boxes: Tensor, side: int) -> Tensor:
    """The whole pixels of a box, from its first to its last one, resized by OpenCV.

    OpenCV's bilinear resizing of 8 bits cuts its sums short: of a cell between pixels of 0 and 1
    it makes 1 only where each of its two rows, rounded down to quarters, add up to a half.

    Source: mask_target of HRNet-Object-Detection and mmdetection 1; resize of OpenCV 3 to 5.
    """
    height, width = bitmaps.shape[1:]
    x1, y1, x2, y2 = (boxes - boxes.new_tensor([0, 0, 1, 1])).int().unbind(dim=1)  # towards 0
    left, right, _, part = _weights(x1, x2, width, side, ends=True)
    top, bottom, upper, lower = _weights(y1, y2, height, side, ends=False)
    k = objects[:, None, None]

    def row(y: Tensor) -> Tensor:
        first, last = (bitmaps[k, y[:, :, None], x[:, None, :]].int() for x in (left, right))
        return (first * (_ONE - part[:, None, :]) + last * part[:, None, :]) >> 4

    above, below = row(top) * upper[:, :, None], row(bottom) * lower[:, :, None]
    return ((above >> 16) + (below >> 16) + 2) >> 2 > 0


def _weights(first: Tensor, last: Tensor, limit: int, side: int, *, ends: bool) -> list[Tensor]:
    """Pixels before and after the middle of each of `side` cells, (N, side), and their weights.

    Args:
        first, last: (N,) pixels of a box on one axis of an image of `limit` pixels.
        ends: whether the weights of cells beyond the first or last pixel's middle are 1 and 0
            (OpenCV's columns) or as anywhere, of one pixel twice (OpenCV's rows).
    """
    first = first.clamp(0, limit - 1).long()
    length = (last.long() - first + 1).clamp(min=1).minimum(limit - first)[:, None]
    cells = torch.arange(side, device=first.device, dtype=torch.float64) + 0.5
    at = (cells * (1 / (side / length.double())) - 0.5).float()
    before = at.floor()
    part = at - before
    if ends:
        part[(before < 0) | (before >= length - 1)] = 0
    before = before.long()
    pixels = [first[:, None] + x.clamp(min=0).minimum(length - 1) for x in (before, before + 1)]
    weights = [(x * _ONE).round().int() for x in (1 - part, part)]
    return [*pixels, *weights]


# By TrainingRules.mask_targets, where these are not Detectron2's polygons.
CUTS: dict[str, Cut] = {"bitmap": sampled, "crop": cropped}
