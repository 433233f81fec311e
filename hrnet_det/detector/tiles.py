"""Tiles of a large image, and what is found in them brought into the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import ceil
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from detectron2.structures import Boxes, Instances
from PIL import Image

from hrnet_det.data.checks import SMALLEST
from hrnet_det.detector.merging import SAHI_ADVICE, Candidates, by_nms, by_sahi
from hrnet_det.detector.run_lengths import RunLengthMasks, run_lengths, union
from hrnet_det.errors import InputError

MERGES = {"nms": by_nms, "sahi": by_sahi}
OVERLAP, MERGE = 0.2, "nms"  # by default
MOST_OVERLAP = 0.9
DENSE = 2**30  # bytes of masks, at most, as a tensor; beyond they stay run lengths


class Tile(NamedTuple):
    """A part of an image, in its pixels; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, pixels: np.ndarray) -> np.ndarray:
        """The tile's pixels of an image (H, W, ...)."""
        return pixels[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Tiling:
    """How images are cut into tiles, and what is found in these becomes one.

    Args:
        tile: side of a tile, pixels of the image.
        overlap: share of its side, at least, in which it overlaps the next.
        merge: of MERGES.
    """

    tile: int
    overlap: float = OVERLAP
    merge: str = MERGE

    @classmethod
    def checked(cls, tile: int | None, overlap: float, merge: str) -> Tiling | None:
        """What a call asks for; None without tiles. Raises: InputError if it is not possible."""
        if tile is None:
            if (overlap, merge) != (OVERLAP, MERGE):
                raise InputError(
                    f"overlap {overlap}, merge {merge}: they are about tiles; give tile, the side "
                    "of one in pixels, too"
                )
            return None
        if isinstance(tile, bool) or not isinstance(tile, Integral) or tile < SMALLEST:
            raise InputError(f"tile {tile}: give the side in pixels, at least {SMALLEST}")
        if (
            isinstance(overlap, bool)
            or not isinstance(overlap, Real)
            or not (0 <= overlap <= MOST_OVERLAP)
        ):
            raise InputError(f"overlap {overlap}: give a share from 0 to {MOST_OVERLAP}")
        if merge not in MERGES:
            raise InputError(f"merge {merge!r}: give {' or '.join(MERGES)}")
        if merge == "sahi" and find_spec("sahi") is None:
            raise InputError(f"merge sahi needs SAHI: {SAHI_ADVICE}")
        return cls(int(tile), float(overlap), merge)

    @property
    def least(self) -> int:
        """Pixels in which tiles overlap at least: shorter objects are whole in one of them."""
        return round(self.tile * self.overlap)

    def tiles(self, size: tuple[int, int]) -> list[Tile]:
        """The tiles of an image of a height and width, row by row, spread evenly over it."""
        (height, rows), (width, columns) = ((side, self._starts(side)) for side in size)
        high, wide = min(self.tile, height), min(self.tile, width)
        return [Tile(x, y, x + wide, y + high) for y in rows for x in columns]

    def _starts(self, side: int) -> list[int]:
        if side <= self.tile:
            return [0]
        count = ceil((side - self.least) / (self.tile - self.least))
        return [round(k * (side - self.tile) / (count - 1)) for k in range(count)]


@dataclass
class Found:
    """The objects of a tile, in the image's pixels.

    Args:
        boxes: (N, 4) float32, x0 y0 x1 y1; scores (N,) float32; classes (N,) int64.
        masks: N of COCO's run lengths in the whole image; keypoints (N, K, 3).
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: list[dict] | None = None
    keypoints: np.ndarray | None = None


def placed(objects: Instances, tile: Tile, size: tuple[int, int]) -> Found:
    """A tile's objects in the image of a height and width.

    Args:
        objects: in the tile's pixels, or in those of the tile made smaller.
    """
    height, width = objects.image_size
    scale = (tile.right - tile.left) / width, (tile.bottom - tile.top) / height
    boxes = objects.pred_boxes.tensor.numpy() * np.float32(scale * 2)
    boxes += np.float32([tile.left, tile.top] * 2)
    found = Found(boxes, objects.scores.numpy(), objects.pred_classes.numpy())
    if objects.has("pred_masks"):
        masks = objects.pred_masks.numpy()
        found.masks = [_mask(mask, scale, tile, size) for mask in masks]
    if objects.has("pred_keypoints"):
        found.keypoints = objects.pred_keypoints.numpy() * np.float32([*scale, 1])
        found.keypoints += np.float32([tile.left, tile.top, 0])
    return found


def _mask(mask: np.ndarray, scale: tuple[float, float], tile: Tile, size: tuple[int, int]) -> dict:
    """The run lengths in the image of a mask in a tile, of which only the part with it is held."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return run_lengths(mask[:0, :0], 0, 0, size)
    (top, bottom), (left, right) = ((at[0], at[-1] + 1) for at in (rows, columns))
    part = mask[top:bottom, left:right]
    if scale != (1, 1):
        left, right = (round(x * scale[0]) for x in (left, right))
        top, bottom = (round(y * scale[1]) for y in (top, bottom))
        large = Image.fromarray(part.astype(np.uint8) * 255).resize(
            (max(1, right - left), max(1, bottom - top)), Image.Resampling.BILINEAR
        )
        part = np.asarray(large) > 127
    return run_lengths(part, tile.left + int(left), tile.top + int(top), size)


def merged(
    parts: Sequence[Found],
    tiles: Sequence[Tile],
    size: tuple[int, int],
    tiling: Tiling,
    *,
    score: float = 0,
    most: int | None = None,
) -> Instances:
    """The objects of an image, each once, the best first.

    Args:
        parts: what was found in each of the tiles, of which the last is the whole image.
        score: objects of a lower one are left out; most: and all others than so many.
    Output: pred_boxes, scores, pred_classes, where there are any pred_keypoints (N, K, 3), and
        pred_masks (N, H, W) bool or, where those would take more than DENSE bytes, RunLengthMasks.
    """
    boxes, scores, classes = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("boxes", "scores", "classes")
    )
    number = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    candidates = Candidates(boxes, scores, classes, number, np.array(tiles))
    groups = MERGES[tiling.merge](candidates, least=tiling.least, score=score)
    groups = [group for group in groups if scores[group.members].max() >= score]
    groups = sorted(groups, key=lambda group: -scores[group.members].max())[:most]
    first = np.array([group.members[0] for group in groups], np.int64)
    found = Instances(
        size,
        pred_boxes=Boxes(
            torch.from_numpy(np.stack([g.box for g in groups]) if groups else boxes[:0])
        ),
        scores=torch.tensor([scores[g.members].max() for g in groups], dtype=torch.float32),
        pred_classes=torch.from_numpy(classes[first]),
    )
    if parts[0].masks is not None:
        masks = [mask for part in parts for mask in part.masks]
        rle = [union([masks[i] for i in group.members]) for group in groups]
        lean = RunLengthMasks(rle, size)
        found.pred_masks = lean if np.prod(lean.shape) > DENSE else lean.tensor()
    if parts[0].keypoints is not None:
        points = np.concatenate([part.keypoints for part in parts])
        chosen = [_best_points(points[group.members]) for group in groups]
        found.pred_keypoints = torch.from_numpy(np.stack(chosen) if chosen else points[:0])
    return found


def _best_points(points: np.ndarray) -> np.ndarray:
    """Of the keypoints of an object's parts (P, K, 3) each from the part that is surest of it."""
    return points[points[:, :, 2].argmax(axis=0), np.arange(points.shape[1])]


def tiles_remark(tiles: Sequence[Tile], resized: tuple[int, int]) -> str:
    """What is said of an image that is detected in tiles: how many, and how they are resized."""
    whole, (left, top, right, bottom) = tiles[-1], tiles[0]
    height, width = resized
    factor = height / (bottom - top)
    return (
        f"an image of {whole.right}x{whole.bottom} is detected in {len(tiles) - 1} tiles of "
        f"{right - left}x{bottom - top}, each resized to {width}x{height} (x{factor:.2f}) as an "
        "image of that size is, and once as a whole"
    )
