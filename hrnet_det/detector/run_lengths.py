"""Masks as COCO's run lengths: those of large images, which as arrays would take gigabytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.structures import Instances
from pycocotools import mask as coco_mask
from torch import Tensor


class RunLengthMasks:
    """Masks of an image that take little memory, in the place of a tensor (N, H, W) of bool.

    A field of Detectron2's Instances: it has a length, is chosen from and joined. A single mask,
    `masks[3]` or each in a loop, is a tensor (H, W) of bool; `rle` has all as COCO has them.

    Args:
        rle: of each mask {"size": [H, W], "counts": bytes}.
        size: height and width in pixels.
    """

    dtype, device = torch.bool, torch.device("cpu")

    def __init__(self, rle: Sequence[dict], size: tuple[int, int]) -> None:
        self.rle, self.size = list(rle), (int(size[0]), int(size[1]))

    @property
    def shape(self) -> tuple[int, int, int]:
        return (len(self.rle), *self.size)

    def __len__(self) -> int:
        return len(self.rle)

    def __iter__(self) -> Iterator[Tensor]:
        return (_decoded(rle) for rle in self.rle)

    def __getitem__(self, item: int | slice | Sequence | Tensor) -> Tensor | RunLengthMasks:
        chosen = torch.arange(len(self))[item]
        if not chosen.dim():
            return _decoded(self.rle[chosen])
        return RunLengthMasks([self.rle[i] for i in chosen.tolist()], self.size)

    def to(self, *_: object, **__: object) -> RunLengthMasks:
        """Itself, as they stay on the CPU."""
        return self

    def tensor(self) -> Tensor:
        """All of them, (N, H, W) bool: N * H * W bytes."""
        dense = torch.empty(self.shape, dtype=torch.bool)
        for number, mask in enumerate(self):
            dense[number] = mask
        return dense

    @staticmethod
    def cat(several: Sequence[RunLengthMasks]) -> RunLengthMasks:
        """Those of one image, together."""
        return RunLengthMasks([rle for masks in several for rle in masks.rle], several[0].size)

    def __repr__(self) -> str:
        return f"RunLengthMasks(shape={self.shape})"


def run_lengths(part: np.ndarray, left: int, top: int, size: tuple[int, int]) -> dict:
    """COCO's run lengths of a mask of which a part is given, in time and memory of that part.

    Args:
        part: (h, w) bool; around it the mask is empty.
        left, top: where the part lies in the image, pixels.
        size: height and width of the image.
    """
    height, width = size
    edges = np.zeros((part.shape[1], part.shape[0] + 1), np.int8)  # columns, which COCO runs along
    edges[:, :-1] = part.T
    edges[:, 1:] -= part.T.astype(np.int8)
    column, row = np.nonzero(edges)  # where runs begin and end, in turn
    at = (left + column.astype(np.int64)) * height + top + row
    inner = at[1:-1].reshape(-1, 2)  # ends, and the begins that follow them
    inner = inner[inner[:, 0] != inner[:, 1]]  # else a run goes on at the top of the next column
    turns = np.concatenate([at[:1], inner.ravel(), at[-1:]])
    counts = np.diff(turns, prepend=0, append=height * width).tolist()
    counts = counts if counts[-1] else counts[:-1]  # as COCO's, which ends with the last run
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, *size)


def coco_rows(objects: Instances, image_id: int) -> list[dict]:
    """COCO results of an image's objects, as Detectron2's instances_to_coco_json gives them.

    Masks that are run lengths already are written as they are, in a moment.
    """
    if not objects.has("pred_masks") or not isinstance(objects.pred_masks, RunLengthMasks):
        return instances_to_coco_json(objects, image_id)
    fields = {k: v for k, v in objects.get_fields().items() if k != "pred_masks"}
    rows = instances_to_coco_json(Instances(objects.image_size, **fields), image_id)
    for row, rle in zip(rows, objects.pred_masks.rle, strict=True):
        row["segmentation"] = {**rle, "counts": rle["counts"].decode()}
    return rows


def union(several: Sequence[dict]) -> dict:
    """The run lengths of what any of several masks of an image covers."""
    return several[0] if len(several) == 1 else coco_mask.merge(list(several))


def _decoded(rle: dict) -> Tensor:
    return torch.from_numpy(coco_mask.decode(rle)).bool()
