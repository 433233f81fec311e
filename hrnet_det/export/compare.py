"""Objects that a file has found beside those of PyTorch, one to one."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from detectron2.structures import Instances


@dataclass(frozen=True)
class Found:
    """The objects of an image, best first.

    Attributes:
        boxes: (K, 4) pixels; scores: (K,); classes: (K,).
        masks: (K, H, W) bool, and points: (K, J, 3) of x, y and score, where there are any.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    masks: np.ndarray | None = None
    points: np.ndarray | None = None

    @classmethod
    def of(cls, objects: Instances) -> Found:
        """Those that a detector returns."""
        named = {
            "masks": objects.pred_masks if objects.has("pred_masks") else None,
            "points": objects.pred_keypoints if objects.has("pred_keypoints") else None,
        }
        return cls(
            objects.pred_boxes.tensor.cpu().numpy(),
            objects.scores.cpu().numpy(),
            objects.pred_classes.cpu().numpy(),
            **{name: None if x is None else x.cpu().numpy() for name, x in named.items()},
        )

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Tolerance:
    """By how much a file's objects may differ from PyTorch's.

    With `overlap` set, as for 16 bits and int8, an object is paired with the one that it overlaps
    most, and it is half of all that has to agree; without, every single one.

    Args:
        box: pixels, of the worst corner of each, or of half of all; and as much again for each
            1,000 pixels of the image's longer side.
        score: likewise.
        mask: share of the pixels at a mask's edge which may be on the other side of it.
        points: share of all keypoints that may be elsewhere, where a heat map has two peaks.
        overlap: IoU of a pair, at least; 0 where pairs have to agree in box and score.
        alone: share of all objects that only one of the two has.
        maps: of a backbone: the largest difference as a share of the largest value.
    """

    box: float
    score: float
    mask: float
    points: float
    maps: float
    overlap: float = 0.0
    alone: float = 0.0

    def pixels(self, size: tuple[int, int]) -> float:
        """Of boxes in an image of a height and width."""
        return self.box * (1 + max(size) / 1000)


TOLERANCES = {
    "float32": Tolerance(box=0.02, score=2e-4, mask=0.02, points=0.02, maps=1e-3),
    "float16": Tolerance(
        box=1.0, score=0.01, mask=0.2, points=0.1, maps=0.03, overlap=0.5, alone=0.05
    ),
    "bfloat16": Tolerance(
        box=3.0, score=0.04, mask=0.5, points=0.3, maps=0.15, overlap=0.5, alone=0.15
    ),
    "int8": Tolerance(box=6.0, score=0.1, mask=0.8, points=0.5, maps=0.4, overlap=0.5, alone=0.35),
}


@dataclass
class Difference:
    """How the objects of an image differ.

    Attributes:
        expected, found: how many PyTorch and the file have.
        pairs: (i, j) of the same object in both; box, score: of each pair the largest difference,
            pixels and score.
        missing, extra: numbers of those that only PyTorch has, and only the file.
        border: of these, how many lie at the least score, or at the last one of as many objects as
            an image has at most; they are in no other list.
        pixels, edge: of each pair's masks how many pixels differ, and how many lie at the edge.
        moved, points: keypoints that are elsewhere, and all.
    """

    expected: int
    found: int
    pairs: list[tuple[int, int]] = field(default_factory=list)
    box: np.ndarray = field(default_factory=lambda: np.zeros(0))
    score: np.ndarray = field(default_factory=lambda: np.zeros(0))
    missing: list[int] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)
    border: int = 0
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    edge: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    moved: int = 0
    points: int = 0


def compare(
    expected: Found,
    found: Found,
    *,
    size: tuple[int, int],
    tolerance: Tolerance,
    least: float,
    most: int,
) -> Difference:
    """Find each of PyTorch's objects in the file's.

    Args:
        size: height and width of the image.
        least: score below which the detector gives no objects; most: how many it gives at most.
    """
    pixels = tolerance.pixels(size)
    boxes, scores = apart(expected, found)
    same = expected.classes[:, None] == found.classes[None]
    if tolerance.overlap:
        overlaps = ious(expected.boxes, found.boxes)
        pairs = _paired(same & (overlaps >= tolerance.overlap), -overlaps)
    else:
        pairs = _paired(same & (boxes <= pixels) & (scores <= tolerance.score), boxes)
    result = Difference(len(expected), len(found), pairs)
    ours, theirs = (np.array(side, int) for side in zip(*pairs, strict=True)) if pairs else [[], []]
    result.box, result.score = boxes[ours, theirs], scores[ours, theirs]
    for here, other, paired, alone in (
        (expected, found, ours, result.missing),
        (found, expected, theirs, result.extra),
    ):
        cut = other.scores.min() if len(other) >= most else -np.inf
        lowest = max(least, cut) + tolerance.score
        left = sorted(set(range(len(here))) - {int(n) for n in paired})
        alone += [n for n in left if here.scores[n] > lowest]
        result.border += len(left) - len(alone)
    _compare_masks(result, expected, found)
    _compare_points(result, expected, found, pixels, tolerance.score)
    return result


def apart(expected: Found, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """(K, L): the largest difference of the corners in pixels, and that of the scores."""
    boxes = np.abs(expected.boxes[:, None] - found.boxes[None]).max(axis=2, initial=0)
    return boxes, np.abs(expected.scores[:, None] - found.scores[None])


def ious(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(K, L) intersection over union; 0 of empty ones."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(axis=2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def _paired(allowed: np.ndarray, cost: np.ndarray) -> list[tuple[int, int]]:
    """One to one, the cheapest first."""
    rows, columns = np.nonzero(allowed)
    order = np.argsort(cost[rows, columns], kind="stable")
    pairs, taken = {}, set()
    for i, j in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)
    return sorted(pairs.items())


def _compare_masks(result: Difference, expected: Found, found: Found) -> None:
    if expected.masks is None or not result.pairs:
        return
    ours, theirs = zip(*result.pairs, strict=True)
    rows = [(expected.masks[i], found.masks[j]) for i, j in zip(ours, theirs, strict=True)]
    result.pixels = np.array([np.count_nonzero(a != b) for a, b in rows])
    result.edge = np.array([edge_pixels(a) for a, _ in rows])


def edge_pixels(mask: np.ndarray) -> int:
    """Pixels of a mask (H, W) beside one that is not of it, and the other way round."""
    edge = np.zeros(mask.shape, bool)
    for axis in (0, 1):
        change = np.diff(mask, axis=axis)
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        edge[tuple(first)] |= change
        edge[tuple(second)] |= change
    return int(np.count_nonzero(edge))


def _compare_points(
    result: Difference, expected: Found, found: Found, pixels: float, score: float
) -> None:
    if expected.points is None or not result.pairs:
        return
    ours, theirs = (list(side) for side in zip(*result.pairs, strict=True))
    change = np.abs(expected.points[ours] - found.points[theirs])
    far = (change[..., :2].max(axis=2) > 10 * pixels) | (change[..., 2] > 50 * score)
    result.moved, result.points = int(np.count_nonzero(far)), far.size
