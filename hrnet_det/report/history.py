"""What metrics.json tells of a training: losses, learning rate, and metrics of evaluations."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from hrnet_det.errors import InputError
from hrnet_det.report.metrics import Results, is_task

TOTAL, VALIDATION, RATE = "total_loss", "validation_loss/", "lr"


@dataclass(frozen=True)
class Curve:
    """A metric over a training: its values, all of them finite, at iterations that rise."""

    iterations: Sequence[int]
    values: Sequence[float]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def last(self) -> float:
        return self.values[-1]

    def lowest(self) -> int:
        """The place of its lowest value, the first of several."""
        return min(range(len(self)), key=lambda i: (self.values[i], i))

    def highest(self) -> int:
        """The place of its highest value, the first of several."""
        return min(range(len(self)), key=lambda i: (-self.values[i], i))

    def until(self, iteration: int, *, after: int = -1) -> Curve:
        """The part of it from the iteration that follows `after` to `iteration`."""
        pairs = zip(self.iterations, self.values, strict=True)
        return _curve([(i, value) for i, value in pairs if after < i <= iteration])


@dataclass(frozen=True)
class History:
    """The rows of a metrics.json.

    Attributes:
        rows: as Detectron2 writes them, each with its "iteration".
        left_out: the numbers of lines, from 1, that could not be read.
    """

    rows: Sequence[dict]
    left_out: Sequence[int] = ()

    def __bool__(self) -> bool:
        return bool(self.rows)

    def curve(self, name: str) -> Curve:
        """A metric by its name in metrics.json; without values where there are none."""
        values = ((row["iteration"], row.get(name)) for row in self.rows)
        return _curve([(i, float(v)) for i, v in values if _is_number(v)])

    @cached_property
    def losses(self) -> list[str]:
        """The names of a training's losses, but for their total."""
        names = dict.fromkeys(name for row in self.rows for name in row)
        return sorted(name for name in names if name.startswith("loss_"))

    @cached_property
    def evaluated(self) -> list[dict]:
        """The rows with metrics of an evaluation."""
        return [row for row in self.rows if any(map(_parts, row))]

    @property
    def iteration(self) -> int:
        """The last one that has losses; -1 for none."""
        trained = self.curve(TOTAL).iterations
        return trained[-1] if trained else -1

    def results(self) -> Results:
        """The metrics of the last evaluation.

        The name of the test set is "" where there is one alone.
        """
        found: Results = {}
        for name, value in (self.evaluated[-1] if self.evaluated else {}).items():
            if parts := _parts(name):
                dataset, task, metric = parts
                found.setdefault(dataset, {}).setdefault(task, {})[metric] = (
                    value if _is_number(value) else None
                )
        return found


def read_history(path: Path) -> History:
    """The history in a metrics.json; without rows where there is no such file.

    Lines that are no rows, such as the last one of a run that was killed, are left out.

    Raises: InputError if there is not one row in the file.
    """
    if not path.is_file():
        return History(())
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = {number: _row(line) for number, line in enumerate(lines, start=1) if line.strip()}
    whole = sorted((row for row in rows.values() if row), key=lambda row: row["iteration"])
    if not whole:
        state = "none of its lines is a row of metrics" if rows else "it is empty"
        raise InputError(
            f"{path} cannot be used: {state}. A training writes a line of JSON there every 20 "
            "iterations; where it has stopped before, train on (--resume)"
        )
    return History(whole, [number for number, row in rows.items() if not row])


def _row(line: str) -> dict | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    there = isinstance(row, dict) and isinstance(row.get("iteration"), int)
    return row if there else None


def _number(value: object) -> float | None:
    """A metric; None for NaN, COCO's AP where there are no objects."""
    return float(value) if _is_number(value) else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _curve(pairs: Sequence[tuple[int, float]]) -> Curve:
    return Curve(*zip(*pairs, strict=True)) if pairs else Curve((), ())


def _parts(name: str) -> tuple[str, str, str] | None:
    """Test set, task and metric of a name; None for what is no metric of an evaluation.

    Names of classes may have a slash, as names of test sets may.
    """
    words = name.split("/")
    for place, word in enumerate(words[:-1]):
        if is_task(word):
            return "/".join(words[:place]), word, "/".join(words[place + 1 :])
    return None
