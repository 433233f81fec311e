"""Masks as the small part of an image that each covers, from arrays or run lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Part:
    """A mask without the empty rows and columns around it: `inside`, (h, w) bool, at left, top."""

    left: int
    top: int
    inside: np.ndarray

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.inside))

    @property
    def box(self) -> tuple[int, int, int, int]:
        """x0, y0, x1, y1 around the mask, pixels."""
        height, width = self.inside.shape
        return self.left, self.top, self.left + width, self.top + height


EMPTY = Part(0, 0, np.zeros((0, 0), bool))


def parts_of(masks: object) -> list[Part]:
    """The parts of masks.

    Args:
        masks: (N, H, W) bool or numbers, as an array, a tensor or Detectron2's BitMasks; or COCO's
            compressed run lengths of each, {"size": [H, W], "counts": bytes or str}: a list, or
            what has it as `rle`.
    """
    masks = getattr(masks, "rle", masks)
    if isinstance(masks, (list, tuple)):
        return [run_length_part(mask) for mask in masks]
    masks = getattr(masks, "tensor", masks)
    masks = masks.cpu().numpy() if hasattr(masks, "cpu") else np.asarray(masks)
    return [array_part(mask) for mask in masks]


def array_part(mask: np.ndarray) -> Part:
    """The part of a mask, (H, W) bool or numbers."""
    mask = mask if mask.dtype == bool else mask.astype(bool)
    rows = mask.any(axis=1).nonzero()[0]
    if not len(rows):
        return EMPTY
    top, bottom = rows[0], rows[-1] + 1
    columns = mask[top:bottom].any(axis=0).nonzero()[0]
    left, right = columns[0], columns[-1] + 1
    return Part(int(left), int(top), mask[top:bottom, left:right])


def run_length_part(mask: Mapping) -> Part:
    """The part of a mask in COCO's compressed run lengths, in time and memory of that part."""
    height, _ = mask["size"]
    turns = np.cumsum(_counts(mask["counts"]))  # where runs end, down the columns
    starts, ends = turns[:-1:2], turns[1::2]
    starts, ends = starts[starts < ends], ends[starts < ends]
    if not len(starts):
        return EMPTY
    left, right = starts[0] // height, (ends[-1] - 1) // height + 1
    # A run that goes on in the next column is in the first and the last row.
    crosses = bool((starts // height != (ends - 1) // height).any())
    top = 0 if crosses else int((starts % height).min())
    bottom = height if crosses else int(((ends - 1) % height).max()) + 1
    edges = np.zeros((right - left) * height + 1, np.int8)
    edges[starts - left * height] = 1
    edges[ends - left * height] -= 1
    inside = np.cumsum(edges[:-1], dtype=np.int8).reshape(right - left, height).T.astype(bool)
    return Part(int(left), top, inside[top:bottom])


def _counts(text: bytes | str) -> np.ndarray:
    """The lengths of runs, outside and inside in turn.

    Source: pycocotools' common/maskApi.c, rleFrString: six bits a character, of which one says
    that more follow; from the fourth number on, the difference to the one before the last.
    """
    coded = np.frombuffer(text.encode() if isinstance(text, str) else text, np.uint8) - 48
    last = (coded & 0x20) == 0
    first = np.flatnonzero(np.concatenate([[True], last[:-1]]))
    place = np.arange(len(coded)) - np.repeat(first, np.diff(first, append=len(coded)))
    numbers = np.add.reduceat((coded & 0x1F).astype(np.int64) << (5 * place), first)
    negative = (coded[last] & 0x10) != 0
    numbers -= negative.astype(np.int64) << (5 * (place[last] + 1))
    for parity in (1, 2):
        numbers[parity::2] = np.cumsum(numbers[parity::2])
    return numbers
