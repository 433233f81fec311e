"""The tables of a run's page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hrnet_det.evaluation.coco import COCOS_LIMIT, LIMIT_METRIC
from hrnet_det.report.metrics import CLASS_METRICS, TABLES, TASKS

NOTHING = "-"  # of what cannot be measured


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column has names, the others numbers."""

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def metric_tables(results: dict[str, dict[str, dict[str, float | None]]]) -> list[Table]:
    """The metrics of each test set, in percent: a table for tasks that have the same ones."""
    made = []
    for name, tasks in results.items():
        for metrics, titles in TABLES:
            of_these = {
                task: values
                for task, values in tasks.items()
                if task.removesuffix("_TTA") in titles and metrics[0] in values
            }
            rows = [
                (_titled(task, titles), *(percent(values.get(metric)) for metric in metrics))
                for task, values in of_these.items()
            ]
            if rows:
                made.append(Table(name, ("", *metrics), rows, _limits(of_these)))
    return made


def class_tables(results: dict[str, dict[str, dict[str, float | None]]]) -> list[Table]:
    """The metrics of each class, in percent: a table for each test set and kind of metric."""
    made = []
    for name, tasks in results.items():
        for start in CLASS_METRICS:
            columns = {
                f"{_titled(task, TASKS)} {start.rstrip('-')}": {
                    key.removeprefix(start): v for key, v in values.items() if key.startswith(start)
                }
                for task, values in tasks.items()
                if task.removesuffix("_TTA") in TASKS
            }
            columns = {title: values for title, values in columns.items() if values}
            classes = dict.fromkeys(key for values in columns.values() for key in values)
            rows = [
                (key, *(percent(values.get(key)) for values in columns.values())) for key in classes
            ]
            if rows:
                made.append(Table(name, ("class", *columns), rows))
    return made


def _titled(task: str, titles: dict[str, str]) -> str:
    plain = task.removesuffix("_TTA")
    return titles[plain] + ", test-time augmentation" * (plain != task)


def _limits(tasks: dict[str, dict[str, float | None]]) -> str:
    """Of how many detections of an image AP is."""
    if not tasks.keys() & {"bbox", "segm"}:
        return ""
    limits = {int(values.get(LIMIT_METRIC) or COCOS_LIMIT) for values in tasks.values()}
    return f"AP counts the best {max(limits)} detections of an image (maxDets)."


def percent(value: float | None) -> str:
    return NOTHING if value is None or math.isnan(value) else f"{value:.1f}"
