"""How well a detector's anchors fit the objects after images are resized."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from detectron2.config import instantiate
from detectron2.data import transforms as T
from detectron2.layers import ShapeSpec
from detectron2.modeling.anchor_generator import build_anchor_generator

from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.proposals import training_size
from hrnet_det.data.statistics import Statistics
from hrnet_det.data.transforms import RESIZE_RULES

OBJECTS_AT_ONCE = 100_000
POOR_IOU, GOOD_IOU = 0.5, 0.7  # of an object with its best anchor; GOOD: what an RPN learns by


@dataclass(frozen=True)
class Level:
    """The anchors of a pyramid level: around each point of its grid, which begins at `offset`.

    Args:
        stride, offset: pixels of the resized image.
        boxes: (A, 4), x0, y0, x1, y1 around a grid point.
    """

    stride: int
    offset: float
    boxes: np.ndarray

    @property
    def sides(self) -> list[int]:
        """The roots of the areas, in pixels, without repetition."""
        width, height = (self.boxes[:, 2:] - self.boxes[:, :2]).T
        return sorted({round(side) for side in np.sqrt(width * height).tolist()})


def anchor_levels(run: RunConfig) -> list[Level]:
    """The levels of a run's detector, finest first; [] if it has no anchors."""
    if run.model.meta_arch == "FCOS":
        return []
    if run.is_lazy:
        model = run.cfg.model
        node = (model.get("proposal_generator") or model).get("anchor_generator")
        generator = None if node is None else instantiate(node)
    else:
        options = run.cfg.MODEL
        dense = run.model.meta_arch == "RetinaNet"
        features = (options.RETINANET if dense else options.RPN).IN_FEATURES
        strides = [ShapeSpec(stride=2 ** int(name[-1])) for name in features]  # p2: 4
        generator = build_anchor_generator(run.cfg, strides)
    if generator is None:
        return []
    return [
        Level(stride, generator.offset * stride, boxes.double().numpy())
        for stride, boxes in zip(generator.strides, generator.cell_anchors, strict=True)
    ]


@dataclass(frozen=True)
class Scale:
    """The size that images are resized to: pixels of the shorter side, and of the longer at most.

    A shorter side of 0 keeps images as they are. `rule` is a name of RESIZE_RULES.
    """

    shortest: int
    longest: int
    rule: str = "pillow"

    def resized(self, sides: np.ndarray) -> np.ndarray:
        """Sides, (I, 2) height and width of images, after resizing; whole pixels."""
        if not self.shortest or not len(sides):
            return sides.copy()
        rule = RESIZE_RULES[self.rule]
        change = rule[0] if rule else T.ResizeShortestEdge.get_output_shape
        sizes, numbers = np.unique(sides.astype(int), axis=0, return_inverse=True)
        changed = [change(*size, self.shortest, self.longest) for size in sizes.tolist()]
        return np.maximum(changed, 1.0)[numbers.reshape(-1)]  # as at_least_a_pixel

    def __str__(self) -> str:
        return f"shorter side {self.shortest}, longer side at most {self.longest} pixels"


def training_scale(run: RunConfig) -> Scale | None:
    """That of training, of several the largest; None if a LazyConfig does not tell."""
    size = training_size(run)
    return None if size is None else Scale(*size, run[settings.RESIZE])


@dataclass(frozen=True)
class Fit:
    """The objects of a dataset after resizing, and their best anchors.

    Attributes:
        sizes: (N, 2) width and height of the objects, pixels.
        ious: (N,) of each with its best anchor; nan without anchors.
        levels: (N,) which level that is of.
    """

    sizes: np.ndarray
    ious: np.ndarray
    levels: np.ndarray

    @property
    def sides(self) -> np.ndarray:
        """(N,) the root of each object's area, pixels."""
        return np.sqrt(self.sizes.prod(axis=1))


def fit(statistics: Statistics, scale: Scale, levels: list[Level]) -> Fit:
    """The best anchor of each object, wherever on the image it lies."""
    after = scale.resized(statistics.sides)
    factors = (after / statistics.sides)[statistics.image_of][:, ::-1]  # of x and y
    boxes = statistics.boxes * np.tile(factors, 2)
    sides = after[statistics.image_of][:, ::-1]
    ious, best = np.full(len(boxes), np.nan), np.zeros(len(boxes), dtype=np.int64)
    for start in range(0, len(boxes) if levels else 0, OBJECTS_AT_ONCE):
        part = slice(start, start + OBJECTS_AT_ONCE)
        found = np.stack([_best_iou(boxes[part], sides[part], level) for level in levels])
        best[part], ious[part] = found.argmax(axis=0), found.max(axis=0)
    return Fit((boxes[:, 2:] - boxes[:, :2]).clip(0), ious, best)


def _best_iou(boxes: np.ndarray, sides: np.ndarray, level: Level) -> np.ndarray:
    """The best IoU of each box, (N, 4), with a level's anchors on images of these sides, (N, 2).

    Along x and along y the overlap with an anchor shrinks with the distance of the centres, so
    the anchor of the nearest grid point is the best of its shape.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    last = np.ceil(sides / level.stride) - 1
    best = np.zeros(len(boxes))
    for anchor in level.boxes:
        away = (boxes[:, :2] + boxes[:, 2:] - anchor[:2] - anchor[2:]) / 2 - level.offset
        point = np.clip(np.rint(away / level.stride), 0, last) * level.stride + level.offset
        low = np.maximum(boxes[:, :2], point + anchor[:2])
        high = np.minimum(boxes[:, 2:], point + anchor[2:])
        shared = (high - low).clip(0).prod(axis=1)
        best = np.maximum(best, shared / (areas + (anchor[2:] - anchor[:2]).prod() - shared))
    return best
