"""Images with objects, masks and semantic labels to train on, drawn at random."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Objects(NamedTuple):
    """What an image is learned from.

    Attributes:
        image: (H, W, 3) uint8, RGB.
        boxes: (M, 4) float32, x1, y1, x2, y2 in pixels. classes: (M,) int64.
        polygons: M arrays (P, 2) of x, y in pixels. masks: (M, H, W) uint8 of them.
        labels: (H, W) uint8 semantic classes, 255 for none.
    """

    image: np.ndarray
    boxes: Tensor
    classes: Tensor
    polygons: list[np.ndarray]
    masks: np.ndarray
    labels: np.ndarray


def drawn(size: tuple[int, int], *, tiny: int = 2, seed: int = 0, classes: int = 80) -> Objects:
    """Nine ellipses on noise, of which `tiny` have sides under 15 pixels.

    The last one ends with the image, and two lie all but upon one another, unless all are tiny.
    """
    rng = np.random.default_rng(seed)
    height, width = size
    cells = rng.integers(30, 226, (height // 16 + 1, width // 16 + 1, 3))
    image = cells.repeat(16, 0).repeat(16, 1)[:height, :width] + rng.integers(-30, 30, (*size, 3))
    boxes = []
    for n in range(9):
        low, high = (8, 14) if n < tiny else (28, 0.7 * min(size))
        w, h = rng.uniform(low, high, 2)
        x, y = rng.uniform(0, width - w - 2), rng.uniform(0, height - h - 2)
        boxes.append((x, y, x + w, y + h))
    if tiny < len(boxes):
        boxes[-1] = (width - 45.3, height - 38.6, width, height)
        boxes[-2] = tuple(side + 1.5 for side in boxes[-3])
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(turns), np.sin(turns)], axis=1)
    polygons = [
        (np.array(b[:2]) + b[2:]) / 2 + circle * (np.array(b[2:]) - b[:2]) / 2 for b in boxes
    ]
    masks = np.stack([_filled(p, size) for p in polygons])
    labels = np.where(rng.random(size) < 0.1, 255, rng.integers(0, 183, size)).astype(np.uint8)
    found = torch.tensor(boxes, dtype=torch.float32)
    kinds = torch.from_numpy(rng.integers(0, classes, 9))
    return Objects(image.astype(np.uint8), found, kinds, polygons, masks, labels)


def _filled(polygon: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8."""
    from pycocotools import mask

    return mask.decode(mask.frPyObjects([polygon.flatten().tolist()], *size))[..., 0]
