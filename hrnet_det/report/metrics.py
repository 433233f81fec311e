"""The metrics of a run as text tables and as curves."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

from tabulate import tabulate

from hrnet_det.evaluation.coco import LIMIT_METRIC

# Tasks whose rows stand in one table: its metrics, in percent, and the tasks with their titles.
TABLES = (
    (
        ("AP", "AP50", "AP75", "APs", "APm", "APl"),
        {"bbox": "box", "segm": "mask", "keypoints": "keypoints"},
    ),
    (("AR@100", "AR@1000", "ARs@1000", "ARm@1000", "ARl@1000"), {"box_proposals": "proposals"}),
    (("mIoU", "fwIoU", "mACC", "pACC"), {"sem_seg": "semantic"}),
    (("IoU", "iIoU", "IoU_sup", "iIoU_sup"), {"sem_seg": "semantic"}),  # Cityscapes' scripts
    (("PQ", "SQ", "RQ", "PQ_th", "PQ_st"), {"panoptic_seg": "panoptic"}),
)
CLASS_METRICS = ("AP-", "IoU-")  # what the metrics of single classes begin with
TASKS = {task: title for _, titles in TABLES for task, title in titles.items()}


def plain_results(results: dict) -> dict:
    """Metrics as JSON can have them: null for NaN, COCO's AP of a class without objects."""
    return json.loads(json.dumps(results), parse_constant=lambda _: None)


def results_tables(results: dict) -> str:
    """Metrics and those of each class as text tables, in percent, for each test set.

    What cannot be measured, as the test data has no such objects, is "-".
    """
    if all(task.removesuffix("_TTA") in TASKS for task in results):
        results = {"": results}
    parts = []
    for name, tasks in results.items():
        tasks = {task: values for task, values in tasks.items() if isinstance(values, dict)}
        parts.append(f"\nResults {name}".rstrip() + " (percent)")
        for metrics, titles in TABLES:
            rows = [
                [_title(task), *(_measured(values.get(metric)) for metric in metrics)]
                for task, values in tasks.items()
                if task.removesuffix("_TTA") in titles and metrics[0] in values
            ]
            if rows:
                parts.append(tabulate(rows, ["", *metrics], floatfmt=".1f", missingval="-"))
        parts += [*_tables_of_classes(tasks), *_remarks(tasks)]
    return "\n".join(parts)


def _tables_of_classes(tasks: dict[str, dict]) -> list[str]:
    """For each kind of metric that tasks have of classes, a row for each class."""
    parts = []
    for start in CLASS_METRICS:
        headers, columns = ["class"], []
        for task, values in tasks.items():
            column = {key: value for key, value in values.items() if key.startswith(start)}
            if column:
                headers.append(f"{_title(task)} {start.rstrip('-')}")
                columns.append(column)
        keys = dict.fromkeys(itertools.chain.from_iterable(columns))
        rows = [
            [k.removeprefix(start), *(_measured(values.get(k)) for values in columns)] for k in keys
        ]
        if rows:
            parts += ["", tabulate(rows, headers, floatfmt=".1f", missingval="-")]
    return parts


def _remarks(tasks: dict[str, dict]) -> list[str]:
    """What the numbers of a test set are of, and why some are missing."""
    limits: dict[float, list[str]] = {}
    for task, values in tasks.items():
        if LIMIT_METRIC in values:
            limits.setdefault(values[LIMIT_METRIC], []).append(_title(task))
    lines = [
        f"AP of {', '.join(titles)}: at {limit:.0f} detections per image"
        for limit, titles in limits.items()
    ]
    numbers = itertools.chain.from_iterable(values.values() for values in tasks.values())
    if any(isinstance(value, float) and math.isnan(value) for value in numbers):
        lines.append("-: the test data has nothing of that class or size")
    return ["", *lines] if lines else []


def _measured(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _title(task: str) -> str:
    plain = task.removesuffix("_TTA")
    return TASKS.get(plain, plain) + (" TTA" if plain != task else "")


def draw_curves(output: Path) -> bool:
    """Losses and learning rate from output/metrics.json to output/curves.png; False if too few.

    Losses on the test set (TEST.LOSS) are dashed, in the colour of the same loss in training.
    """
    from matplotlib.figure import Figure  # without pyplot: no backend is chosen

    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    training = [row for row in rows if "total_loss" in row]
    if len(training) < 2:
        return False
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    terms = sorted(key for key in training[-1] if key.startswith("loss_"))
    for name in ["total_loss", *terms]:
        total = name == "total_loss"
        (line,) = losses.plot(*_points(rows, name), label=name, lw=2 if total else 1)
        x, y = _points(rows, f"validation_loss/{'total' if total else name}")
        if x:
            style = {"color": line.get_color(), "lw": line.get_linewidth(), "ms": 3}
            losses.plot(x, y, "o--", label="on the test set" if total else None, **style)
    losses.set(ylabel="loss", yscale="log")
    losses.legend(fontsize="small", ncols=2)
    losses.grid(alpha=0.3)
    rate.plot(*_points(rows, "lr"), color="black")
    rate.set(ylabel="learning rate", xlabel="iteration")
    rate.grid(alpha=0.3)
    figure.savefig(output / "curves.png", dpi=120)
    return True


def _points(rows: list[dict], name: str) -> tuple[list[int], list[float]]:
    """The iterations that have a metric, and its values."""
    found = [row for row in rows if name in row]
    return [row["iteration"] for row in found], [row[name] for row in found]
