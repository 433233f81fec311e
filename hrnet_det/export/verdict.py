"""What the differences of a file mean: whether it is as PyTorch, and in words how it is not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hrnet_det.export.compare import Difference, Found, Tolerance, apart

TIED = 0.1  # of all objects, at most, may differ as ties


@dataclass
class Checked:
    """One image of a check, and what was found of it.

    Attributes:
        name, size: of the image, height and width in pixels.
        differences: of each image of the batch; of a backbone none.
        ties: objects that only one of the two has, and that PyTorch itself gives or leaves out
            when its image changes by less than rounding does.
        maps: of a backbone, by name: the largest difference as a share of the largest value.
    """

    name: str
    size: tuple[int, int]
    differences: list[Difference] = field(default_factory=list)
    ties: int = 0
    maps: dict[str, float] = field(default_factory=dict)

    @property
    def objects(self) -> int:
        return sum(d.expected for d in self.differences)


def advice(precision: str) -> str:
    if precision == "float32":
        return "\nThat is a fault of hrnet_det or of the engine, not of your input"
    return "\nGive --precision float32, or images like those of training (--images FOLDER)"


def is_sorted(given: dict[str, np.ndarray]) -> bool:
    """Whether scores fall; those of a batch within each image."""
    steps = np.diff(given["scores"])
    if "image" in given:
        if (np.diff(given["image"]) < 0).any():
            return False
        steps = steps[np.diff(given["image"]) == 0]
    return bool((steps <= 1e-3).all())


def absent_from(objects: Found, others: Found, pixels: float, score: float) -> set[int]:
    """Numbers of objects that the others do not have."""
    boxes, scores = apart(objects, others)
    same = objects.classes[:, None] == others.classes[None]
    there = (same & (boxes <= pixels) & (scores <= score)).any(axis=1)
    return set(np.flatnonzero(~there).tolist())


def lacking(here: Found, there: Found, alone: Sequence[int], ours: str, theirs: str) -> str:
    """In words: objects that only one has, the first of them, and what the other has instead."""
    n = alone[0]
    box = ", ".join(f"{x:.2f}" for x in here.boxes[n])
    said = (
        f"{len(alone)} of {len(here)} objects of {ours} are not among the {len(there)} of "
        f"{theirs}; the first: class {here.classes[n]}, score {here.scores[n]:.4f}, box {box}"
    )
    boxes, scores = apart(here, there)
    boxes = np.where(here.classes[n] == there.classes, boxes[n], np.inf)
    if not len(boxes) or not np.isfinite(boxes).any():
        return f"{said}, where {theirs} has none of this class"
    near = int(boxes.argmin())
    return (
        f"{said}; the nearest is {boxes[near]:.3g} pixels and {scores[n, near]:.2g} in score away"
    )


def faults_of_means(
    objects: Sequence[Difference], tolerance: Tolerance, rows: Sequence[Checked]
) -> Iterable[str]:
    ties, count = sum(row.ties for row in rows), sum(row.objects for row in rows)
    if ties > 2 + TIED * count:
        yield f"{ties} objects beside {count} differ, more than ties can explain"
    moved, points = sum(d.moved for d in objects), sum(d.points for d in objects)
    if moved > np.ceil(tolerance.points * points):
        yield f"{moved} of {points} keypoints are elsewhere"
    if not tolerance.overlap:
        return
    pairs = sum(len(d.pairs) for d in objects)
    alone = sum(len(d.missing) + len(d.extra) for d in objects)
    if alone > tolerance.alone * (2 * pairs + alone) + 1:
        yield f"{alone} objects are only PyTorch's or only the file's, beside {pairs} of both"
    if not pairs:
        return
    # Not the means: of two boxes that score alike either may be left, and these lie apart.
    box = np.median(np.concatenate([d.box for d in objects]))
    score = np.median(np.concatenate([d.score for d in objects]))
    largest = max(tolerance.pixels(row.size) for row in rows)
    if not box <= largest:
        yield f"half of the boxes differ by {box:.2g} pixels and more; {largest:.2g} are allowed"
    if not score <= tolerance.score:
        yield f"half of the scores differ by {score:.2g} and more; {tolerance.score:g} are allowed"
    pixels, edge = (
        np.concatenate([getattr(d, n) for d in objects]).sum() for n in ("pixels", "edge")
    )
    if pixels > tolerance.mask * edge:
        yield f"{pixels} pixels of masks differ, of {edge} at their edges"
