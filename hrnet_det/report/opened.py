"""A run as its folder has it, for its page: config, datasets, metrics and results."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.datasets import prepare_datasets
from hrnet_det.data.own_data import CUSTOM
from hrnet_det.errors import InputError, MissingInputError
from hrnet_det.evaluation.evaluators import best_metric
from hrnet_det.report.history import History, read_history
from hrnet_det.report.metrics import TASKS

METRICS = "metrics.json"
# Tasks whose detections can be looked at one by one, and what these are compared by.
SHAPES = {"bbox": "boxes", "segm": "masks"}
Results = dict[str, dict[str, dict[str, float | None]]]  # {test set: {task: {metric: value}}}


@dataclass
class OpenedRun:
    """What is known of a run.

    Attributes:
        run: None where its folder has no config that can be read.
        results: of its last evaluation; None for a value that cannot be measured.
        datasets: its test sets that can be read.
        remarks: what is left out, and why.
    """

    folder: Path
    run: RunConfig | None
    history: History
    results: Results
    datasets: tuple[str, ...] = ()
    remarks: list[str] = field(default_factory=list)

    @property
    def metric(self) -> str:
        """What tells how good the detector is, as metrics.json names it."""
        if self.run and self.run[settings.TEST_DATASETS] and self.datasets:
            return best_metric(self.run)
        names = [name for row in self.history.evaluated for name in row]
        for tasks in self.results.values():
            names += [f"{task}/{metric}" for task, values in tasks.items() for metric in values]
        likely = ("panoptic_seg/PQ", "bbox/AP", "segm/AP", "sem_seg/mIoU", "box_proposals/AR@1000")
        return next((n for end in likely for n in names if n.endswith(end)), "bbox/AP")


def of_run(run: RunConfig) -> OpenedRun:
    """A run that has just ended in this process, whose datasets are registered."""
    folder, remarks = Path(str(run[settings.OUTPUT_DIR])), []
    try:
        history = read_history(folder / METRICS)
    except InputError as error:  # what was evaluated has its page all the same
        history = History(())
        remarks.append(str(error))
    opened = _read(folder, run, history, remarks)
    opened.datasets = tuple(run[settings.TEST_DATASETS])
    return opened


@contextlib.contextmanager
def opened_run(folder: str | Path) -> Iterator[OpenedRun]:
    """A run by its OUTPUT_DIR, with its test sets registered; nothing is written there.

    Raises: MissingInputError if there is no such folder; InputError if it is that of no run, or
        its metrics.json cannot be used.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingInputError(
            f"{folder}: there is no such folder. Name the OUTPUT_DIR of a training or evaluation"
        )
    config, names = folder / "config.yaml", ("config.yaml", METRICS, "results.json")
    if not any((folder / name).is_file() for name in names):
        raise InputError(
            f"{folder} is not a run's folder: it has none of {', '.join(names)}. Name the "
            "OUTPUT_DIR of a training or evaluation"
        )
    run, remarks = None, []
    if config.is_file():
        try:
            run = load_run(config)
        except InputError as error:
            remarks.append(f"Its config.yaml cannot be read: {error}")
    else:
        remarks.append("There is no config.yaml: its test sets are not known.")
    opened = _read(folder, run, read_history(folder / METRICS), remarks)
    if run is None:
        yield opened
        return
    run[settings.OUTPUT_DIR] = str(folder)  # where it lies now
    with tempfile.TemporaryDirectory() as scratch:  # for jsons that are repaired when they are read
        _register(opened, scratch)
        yield opened


def _read(folder: Path, run: RunConfig | None, history: History, remarks: list[str]) -> OpenedRun:
    if history.left_out:
        lines = ", ".join(map(str, history.left_out[:5])) + ", ..." * (len(history.left_out) > 5)
        remarks.append(
            f"Left out of metrics.json is what is no row of metrics: {len(history.left_out)} of "
            f"its lines (line {lines})."
        )
    results = _results(folder / "results.json", run)
    if not results and (found := history.results()):
        results = {name or _only_test_set(run): tasks for name, tasks in found.items()}
        remarks.append(
            "The run has no results.json, as it has not come to its end: metrics are those of its "
            f"last evaluation, at iteration {history.evaluated[-1]['iteration']:,}."
        )
    return OpenedRun(folder, run, history, results, remarks=remarks)


def _results(path: Path, run: RunConfig | None) -> Results:
    """What results.json has, by test sets. Raises: InputError if it cannot be read."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} is not valid JSON ({error}): evaluate again (train --eval-only), or remove it"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise InputError(f"{path} has no metrics: evaluate again (train --eval-only), or remove it")
    if all(task.removesuffix("_TTA") in TASKS for task in found):
        found = {_only_test_set(run): found} if found else {}
    return {
        name: {task: values for task, values in tasks.items() if isinstance(values, dict)}
        for name, tasks in found.items()
    }


def _only_test_set(run: RunConfig | None) -> str:
    """The name of the test set where results do not say it."""
    names = run[settings.TEST_DATASETS] if run else ()
    return names[0] if len(names) == 1 else "the test set"


def _register(opened: OpenedRun, scratch: str) -> None:
    """Register a run's test sets; one that cannot be used becomes a remark.

    Paths in the config are those that the training had: from the folder that it ran in.
    """
    run = opened.run
    names = tuple(run[settings.TEST_DATASETS])
    if not names or not any(SHAPES.keys() & tasks.keys() for tasks in opened.results.values()):
        return
    copy = run.copy()
    copy[settings.OUTPUT_DIR] = scratch
    _find_split(copy, opened.folder)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what is changed was told in the training
            prepare_datasets(copy, trains=False)
    except InputError as error:
        opened.remarks.append(
            f"What was detected in {', '.join(names)} cannot be compared with its objects, so that "
            f"all but the history and the metrics is left out: {error}"
        )
        return
    opened.datasets = names


def _find_split(run: RunConfig, folder: Path) -> None:
    """Where a run's folder was moved, the json that it was split into moved with it."""
    setting, _, _ = CUSTOM["test"]
    given = str(run[setting])
    moved = folder / "data" / os.path.basename(given)
    if given and not os.path.isfile(given) and moved.is_file():
        run[setting] = str(moved)
