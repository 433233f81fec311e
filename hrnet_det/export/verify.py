"""A file is run by its engine, and what it gives is compared with PyTorch's detector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hrnet_det.errors import InputError
from hrnet_det.export.cases import Case, Cases
from hrnet_det.export.compare import TOLERANCES, Difference, Found, Tolerance, compare
from hrnet_det.export.formats import Engine
from hrnet_det.export.verdict import (
    Checked,
    absent_from,
    advice,
    faults_of_means,
    is_sorted,
    lacking,
)

TRIES = 6  # times that PyTorch is asked whether it gives something else for nearly the same image
SHOWN = 5  # faults, in an error
# What a file gives, and its axes.
TYPES = {
    "image": (np.int64, 1),
    "boxes": (np.float32, 2),
    "scores": (np.float32, 1),
    "classes": (np.int64, 1),
    "keypoints": (np.float32, 3),
}


class DifferenceError(InputError):
    """A file that does not compute what PyTorch does; says by how much it differs."""


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
            try:
                each = self.cases.found(case, given)
            except RuntimeError as error:
                self._fault(row, f"masks cannot be drawn at its boxes: {error}")
                return row
            pairs = zip(self.cases.expected(case), each, case.sizes, strict=True)
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
        boxes = given["boxes"] if len(self.faults) == before else np.zeros((0, 4), np.float32)
        if (boxes[:, 2:] < boxes[:, :2]).any():
            self._fault(row, "boxes are not x0, y0, x1, y1: some end before they begin")
        if inside and "masks" in given and given["masks"].shape[1:] != tuple(case.sizes[0]):
            self._fault(row, f"masks are {given['masks'].shape}")
        if len(self.faults) == before and not is_sorted(given):
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
            self._fault(row, lacking(expected, found, result.missing, "PyTorch", "the file"))
        elif result.extra:
            self._fault(row, lacking(found, expected, result.extra, "the file", "PyTorch"))
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
            absent = absent_from(expected, again, pixels, self.tolerance.score)
            result.missing[:] = [n for n in result.missing if n not in absent]
            absent = absent_from(found, again, pixels, self.tolerance.score)
            result.extra[:] = [n for n in result.extra if n in absent]

    def finish(self) -> None:
        """Judge what counts over all images. Raises: DifferenceError if the file is another."""
        objects = [d for row in self.rows for d in row.differences]
        self.faults += list(faults_of_means(objects, self.tolerance, self.rows))
        if self.faults:
            lines = self.faults[:SHOWN]
            if more := self.faults[SHOWN:]:
                lines.append(f"... and {len(more)} more")
            precision = self.cases.options.precision
            said = f"in {precision} by {self.engine.name} it does not compute what PyTorch does:"
            raise DifferenceError("\n  ".join([said, *lines]) + advice(precision))
