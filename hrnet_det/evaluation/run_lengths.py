"""Masks to COCO's run lengths, in the same bytes as pycocotools' and in less time."""

from __future__ import annotations

import numpy as np
import torch
from pycocotools import mask as coco_mask


def encode_masks(masks: torch.Tensor) -> list[dict]:
    """COCO's compressed run lengths of each mask.

    Run lengths go down the columns, whose pixels lie apart in a mask: to gather them takes longer
    than to count them. Most objects are narrow, so only an object's own columns are gathered.

    Args:
        masks: (N, H, W) bool.
    Returns: N rows {"size": [H, W], "counts": str}.
    """
    pixels = masks.cpu().numpy()
    occupied = pixels.view(np.uint8).max(axis=1, initial=0)  # (N, W): max is faster than any
    return [_encode(*each) for each in zip(pixels, occupied, strict=True)]


def _encode(mask: np.ndarray, occupied: np.ndarray) -> dict:
    """A mask (H, W) bool, of which only the columns with occupied (W,) have anything."""
    height, width = mask.shape
    columns = np.flatnonzero(occupied)
    first, end = (columns[0], columns[-1] + 1) if len(columns) else (0, 0)
    values = mask[:, first:end].T.ravel()
    # Where a run ends, counted down the columns of the whole mask. The first run is of zeros.
    ends = np.flatnonzero(values[1:] != values[:-1]) + (first * height + 1)
    if len(values) and values[0]:
        ends = np.concatenate([[first * height], ends])
    if len(values) and values[-1] and end < width:
        ends = np.concatenate([ends, [end * height]])
    counts = np.diff(ends, prepend=0, append=height * width)
    plain = {"size": [height, width], "counts": counts.tolist()}
    packed = coco_mask.frPyObjects(plain, height, width)
    return {"size": [height, width], "counts": packed["counts"].decode()}
