"""A file is run by its engine, and what it gives is compared with PyTorch's detector."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hrnet_det.errors import InputError
from hrnet_det.export.cases import Case, Cases
from hrnet_det.export.compare import (
    TOLERANCES,
    Difference,
    Found,
    Tolerance,
    apart,
    compare,
)
from hrnet_det.export.formats import Engine

TRIES = 6  # times that PyTorch is asked whether it gives something else for nearly the same image
TIED = 0.1  # of all objects, at most, may differ as ties
# What a file gives, and its axes.
TYPES = {
    "image": (np.int64, 1),
    "boxes": (np.float32, 2),
    "scores": (np.float32, 1),
    "classes": (np.int64, 1),
    "keypoints": (np.float32, 3),
}


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


class Verification:
    """Compares a file with PyTorch, image by image.

    Args:
        engine: of the file.
        cases: makes its inputs, and tells what PyTorch finds.
        outputs: names that the file has to give.
        least: score below which the detector gives no objects; most: objects of an image.
        errors: what the engine raises where it cannot run a file.
    """

    def __init__(
        self,
        engine: Engine,
        cases: Cases,
        *,
        outputs: Sequence[str],
        least: float,
        most: int,
        errors: tuple[type[Exception], ...] = (RuntimeError, ValueError),
    ) -> None:
        self.errors = errors
        self.engine, self.cases, self.outputs = engine, cases, tuple(outputs)
        self.least, self.most = least, most
        self.tolerance: Tolerance = TOLERANCES[cases.options.precision]
        self.rows: list[Checked] = []
        self.faults: list[str] = []

    def check(self, case: Case) -> Checked:
        """Run the file on an input; what differs by too much is added to `faults`."""
        row = Checked(case.name, tuple(case.sizes[0]))
        self.rows.append(row)
        try:
            given = self.engine(case.arrays)
        except self.errors as error:
            self._fault(row, f"it cannot be run: {' '.join(str(error).split())[:300]}")
            return row
        if sorted(given) != sorted(self.outputs):
            self._fault(row, f"it gives {', '.join(given)} instead of {', '.join(self.outputs)}")
        elif self.cases.options.part == "backbone":
            self._check_maps(row, given, self.cases.maps(case))
        elif self._has_types(row, given, case):
            pairs = zip(
                self.cases.expected(case), self.cases.found(case, given), case.sizes, strict=True
            )
            for number, (expected, found, size) in enumerate(pairs):
                self._check_objects(row, case, number, expected, found, size)
        return row

    def _fault(self, row: Checked, text: str) -> None:
        self.faults.append(f"{row.name}, {row.size[0]}x{row.size[1]}: {text}")

    def _check_maps(self, row: Checked, given: dict, expected: dict) -> None:
        for name, ours in expected.items():
            theirs = given[name]
            if theirs.shape != ours.shape:
                self._fault(row, f"{name} is {theirs.shape} instead of {ours.shape}")
                return
            share = float(np.abs(ours - theirs).max() / max(np.abs(ours).max(), 1e-12))
            row.maps[name] = share
            if not share <= self.tolerance.maps:  # nan is not
                self._fault(row, f"{name} differs by {share:.2g} of its largest value")

    def _has_types(self, row: Checked, given: dict, case: Case) -> bool:
        """Whether the arrays are of one length, of the right types, and of finite numbers."""
        before, count = len(self.faults), len(given["scores"])
        inside = self.cases.options.processing == "inside"
        mask = {"masks": (np.bool_ if inside else np.float32, 3)}
        for name, array in given.items():
            kind, axes = (TYPES | mask)[name]
            if array.dtype != kind or array.ndim != axes or len(array) != count:
                shape = f"{array.shape} {array.dtype}"
                self._fault(row, f"{name} is {shape} for {count} scores")
            elif array.dtype.kind == "f" and not np.isfinite(array).all():
                self._fault(row, f"{name} has numbers that are not finite")
        if inside and "masks" in given and given["masks"].shape[1:] != tuple(case.sizes[0]):
            self._fault(row, f"masks are {given['masks'].shape}")
        if len(self.faults) == before and not _is_sorted(given):
            self._fault(row, "objects are not in the order of their scores")
        return len(self.faults) == before

    def _check_objects(
        self, row: Checked, case: Case, number: int, expected: Found, found: Found, size: tuple
    ) -> None:
        limits = {"tolerance": self.tolerance, "least": self.least, "most": self.most}
        result = compare(expected, found, size=size, **limits)
        row.differences.append(result)
        if self.tolerance.overlap:
            return
        if result.missing or result.extra:
            before = len(result.missing) + len(result.extra)
            self._explain(case, number, expected, found, result, size)
            row.ties += before - len(result.missing) - len(result.extra)
        if result.missing:
            self._fault(row, _lacking(expected, found, result.missing, "PyTorch", "the file"))
        elif result.extra:
            self._fault(row, _lacking(found, expected, result.extra, "the file", "PyTorch"))
        excess = result.pixels - np.ceil(2 + self.tolerance.mask * result.edge)
        if excess.max(initial=0) > 0:
            worst = int(excess.argmax())
            self._fault(
                row,
                f"{result.pixels[worst]} pixels of a mask differ, of {result.edge[worst]} at its "
                "edge",
            )

    def _explain(
        self,
        case: Case,
        number: int,
        expected: Found,
        found: Found,
        result: Difference,
        size: tuple[int, int],
    ) -> None:
        """Strike out the objects that PyTorch gives for one image and not for nearly the same."""
        pixels = self.tolerance.pixels(size)
        for noise in range(TRIES):
            if not result.missing and not result.extra:
                return
            again = self.cases.expected(case, noise=noise)[number]
            absent = _absent(expected, again, pixels, self.tolerance.score)
            result.missing[:] = [n for n in result.missing if n not in absent]
            absent = _absent(found, again, pixels, self.tolerance.score)
            result.extra[:] = [n for n in result.extra if n in absent]

    def finish(self) -> None:
        """Judge what counts over all images. Raises: InputError if the file is not as PyTorch."""
        objects = [d for row in self.rows for d in row.differences]
        self.faults += list(_faults_of_means(objects, self.tolerance, self.rows))
        if self.faults:
            shown = self.faults[:5]
            more = [f"... and {len(self.faults) - 5} more"] if len(self.faults) > 5 else []
            raise InputError("\n  ".join(["", *shown, *more]))


def _is_sorted(given: dict[str, np.ndarray]) -> bool:
    """Whether scores fall; those of a batch within each image."""
    steps = np.diff(given["scores"])
    if "image" in given:
        if (np.diff(given["image"]) < 0).any():
            return False
        steps = steps[np.diff(given["image"]) == 0]
    return bool((steps <= 1e-3).all())


def _absent(objects: Found, others: Found, pixels: float, score: float) -> set[int]:
    """Numbers of objects that the others do not have."""
    boxes, scores = apart(objects, others)
    same = objects.classes[:, None] == others.classes[None]
    there = (same & (boxes <= pixels) & (scores <= score)).any(axis=1)
    return set(np.flatnonzero(~there).tolist())


def _lacking(here: Found, there: Found, alone: Sequence[int], ours: str, theirs: str) -> str:
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


def _faults_of_means(
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
    box = np.concatenate([d.box for d in objects]).mean()
    score = np.concatenate([d.score for d in objects]).mean()
    largest = max(tolerance.pixels(row.size) for row in rows)
    if not box <= largest:
        yield f"boxes differ by {box:.2g} pixels on average; {largest:.2g} are allowed"
    if not score <= tolerance.score:
        yield f"scores differ by {score:.2g} on average; {tolerance.score:g} are allowed"
    pixels, edge = (
        np.concatenate([getattr(d, n) for d in objects]).sum() for n in ("pixels", "edge")
    )
    if pixels > tolerance.mask * edge:
        yield f"{pixels} pixels of masks differ, of {edge} at their edges"
