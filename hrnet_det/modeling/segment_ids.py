"""Ids of the segments in the images of COCO's panoptic format."""

from __future__ import annotations

import numpy as np

VOID = 0  # the id of pixels that belong to no segment


def segment_ids(pixels: np.ndarray) -> np.ndarray:
    """Ids (H, W) int64 of a panoptic image (H, W, 3) uint8: R + 256 G + 65536 B."""
    return pixels.astype(np.int64) @ np.array([1, 256, 65536])
