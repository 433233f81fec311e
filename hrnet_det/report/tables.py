"""The metrics of a run as tables, in text and for its page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tabulate import tabulate

from hrnet_det.evaluation.coco import COCOS_LIMIT, LIMIT_METRIC
from hrnet_det.report.metrics import (
    CLASS_METRICS,
    TABLES,
    by_test_set,
    is_task,
    plain_task,
    title_of,
)

NOTHING = "-"  # of what cannot be measured, as the test data has no such objects


@dataclass(frozen=True)
class Table:
    """Metrics in percent: of each row a name, and numbers, or None for what cannot be measured."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]

    @property
    def text(self) -> str:
        """The table for a terminal."""
        return tabulate(self.rows, self.headers, floatfmt=".1f", missingval=NOTHING)

    @property
    def cells(self) -> list[list[str]]:
        """The rows as text."""
        return [[name, *map(percent, values)] for name, *values in self.rows]


def metric_tables(tasks: Mapping[str, Mapping[str, float | None]]) -> list[Table]:
    """The metrics of a test set: a table for tasks that have the same ones."""
    made = []
    for metrics, titles in TABLES:
        rows = [
            (title_of(task), *(_measured(values.get(metric)) for metric in metrics))
            for task, values in tasks.items()
            if plain_task(task) in titles and metrics[0] in values
        ]
        if rows:
            made.append(Table(("", *metrics), rows))
    return made


def class_tables(tasks: Mapping[str, Mapping[str, float | None]]) -> list[Table]:
    """The metrics of each class of a test set: a table for each kind of metric."""
    made = []
    for start in CLASS_METRICS:
        columns = {
            f"{title_of(task)} {start.rstrip('-')}": {
                key.removeprefix(start): v for key, v in values.items() if key.startswith(start)
            }
            for task, values in tasks.items()
            if is_task(task)
        }
        columns = {title: values for title, values in columns.items() if values}
        classes = dict.fromkeys(name for values in columns.values() for name in values)
        rows = [
            (name, *(_measured(values.get(name)) for values in columns.values()))
            for name in classes
        ]
        if rows:
            made.append(Table(("class", *columns), rows))
    return made


def results_tables(results: dict) -> str:
    """Metrics and those of each class as text, in percent, for each test set."""
    parts = []
    for name, tasks in by_test_set(results).items():
        parts.append(f"\nResults {name}".rstrip() + " (percent)")
        parts += [table.text for table in metric_tables(tasks)]
        for table in class_tables(tasks):
            parts += ["", table.text]
        notes = [*_other_limits(tasks), *missing_note(tasks)]
        parts += ["", *notes] if notes else []
    return "\n".join(parts)


def _other_limits(tasks: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """At how many detections AP is, where that is not COCO's own number."""
    limits: dict[float, list[str]] = {}
    for task, values in tasks.items():
        if LIMIT_METRIC in values:
            limits.setdefault(values[LIMIT_METRIC], []).append(title_of(task))
    return [
        f"AP of {', '.join(titles)}: at {limit:.0f} detections per image"
        for limit, titles in limits.items()
    ]


def notes(tasks: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """What the metrics of a test set are of, and why some are missing."""
    said = []
    if limits := {
        int(values.get(LIMIT_METRIC) or COCOS_LIMIT)
        for task, values in tasks.items()
        if plain_task(task) in ("bbox", "segm")
    }:
        said.append(f"AP counts the best {max(limits)} detections of an image (maxDets).")
    return said + [f"{note}." for note in missing_note(tasks)]


def missing_note(tasks: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Why metrics are missing, if any are."""
    measured = (_measured(value) for values in tasks.values() for value in values.values())
    if all(value is not None for value in measured):
        return []
    return [f"{NOTHING}: the test data has nothing of that class or size"]


def percent(value: float | None) -> str:
    return NOTHING if _measured(value) is None else f"{value:.1f}"


def _measured(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
