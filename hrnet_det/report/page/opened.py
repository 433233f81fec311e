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
from hrnet_det.evaluation.predictions import recorded_predictions
from hrnet_det.report.history import History, read_history
from hrnet_det.report.metrics import Results, by_test_set

METRICS = "metrics.json"
# Tasks whose detections can be looked at one by one, and what these are compared by.
SHAPES = {"bbox": "boxes", "segm": "masks"}


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
        named = set(self.run[settings.TEST_DATASETS]) if self.run else set()
        if named and named <= set(self.datasets):
            return best_metric(self.run)
        names = [name for row in self.history.evaluated for name in row]
        for tasks in self.results.values():
            names += [f"{task}/{metric}" for task, values in tasks.items() for metric in values]
        likely = ("panoptic_seg/PQ", "bbox/AP", "segm/AP", "sem_seg/mIoU", "box_proposals/AR@1000")
        return next((n for end in likely for n in names if n.endswith(end)), "bbox/AP")


def of_run(run: RunConfig) -> OpenedRun:
    """A run that has just ended in this process, whose datasets are registered."""
    folder, names = Path(str(run[settings.OUTPUT_DIR])), tuple(run[settings.TEST_DATASETS])
    opened = _read(folder, run, names, [])
    opened.datasets = names
    return opened


@contextlib.contextmanager
def opened_run(folder: str | Path) -> Iterator[OpenedRun]:
    """A run by its OUTPUT_DIR, with its test sets registered; nothing is written there.

    Raises: MissingInputError if there is no such folder; InputError if it is that of no run, or
        there is nothing in its files that could be used.
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
    run, remarks, tests = None, [], ()
    if config.is_file():
        try:
            run = load_run(config)
        except InputError as error:
            remarks.append(f"Its config.yaml cannot be read: {error}")
    else:
        remarks.append("There is no config.yaml: its test sets are not known.")
    if run is not None:
        run[settings.OUTPUT_DIR] = str(folder)  # where it lies now
        tests = _test_sets(run, remarks)
    opened = _read(folder, run, tests, remarks)
    if run is None and not opened.results and not opened.history:
        raise InputError(f"{folder} has nothing of a run that can be used. {' '.join(remarks)}")
    with tempfile.TemporaryDirectory() as scratch:  # for jsons that are repaired when they are read
        opened.datasets = tuple(name for name in tests if _register(opened, name, scratch))
        yield opened


def _test_sets(run: RunConfig, remarks: list[str]) -> tuple[str, ...]:
    """Those of the last evaluation, which may have been on others than the config names."""
    names = tuple(run[settings.TEST_DATASETS])
    try:
        evaluated = recorded_predictions(run)
    except InputError:  # which is said where the predictions are read
        return names
    if evaluated.keys() - set(names):
        remarks.append(
            f"Its last evaluation was on {', '.join(evaluated)}: its history is of "
            f"{', '.join(names) or 'no test set'}."
        )
    return tuple(sorted(evaluated, key=(*names, *evaluated).index)) or names


def _read(
    folder: Path, run: RunConfig | None, tests: tuple[str, ...], remarks: list[str]
) -> OpenedRun:
    """Args: tests: names of the test sets of the last evaluation."""
    try:
        history = read_history(folder / METRICS)
    except InputError as error:  # what was evaluated has its page all the same
        history = History(())
        remarks.append(f"{error}.")
    if history.left_out:
        lines = ", ".join(map(str, history.left_out[:5])) + ", ..." * (len(history.left_out) > 5)
        remarks.append(
            f"Left out of metrics.json is what is no row of metrics: {len(history.left_out)} of "
            f"its lines (line {lines})."
        )
    only = tests[0] if len(tests) == 1 else "the test set"  # where results do not say it
    results = _results(folder / "results.json", only)
    if not results and (found := history.results()):
        results = {name or only: tasks for name, tasks in found.items()}
        remarks.append(
            "The run has no results.json, as it has not come to its end: metrics are those of its "
            f"last evaluation, at iteration {history.evaluated[-1]['iteration']:,}."
        )
    return OpenedRun(folder, run, history, results, remarks=remarks)


def _results(path: Path, only: str) -> Results:
    """What results.json has, by test sets; `only` is the name of one alone.

    Raises: InputError if it cannot be read.
    """
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
    tests = by_test_set(found, only)
    values = [v for tasks in tests.values() for t in tasks.values() for v in _leaves(t)]
    if not all(isinstance(value, (int, float, type(None))) for value in values):
        raise InputError(
            f"{path} has a metric that is no number: evaluate again (train --eval-only), or "
            "remove it"
        )
    return tests


def _leaves(found: object) -> list:
    """What stands for metrics: the values of a task, or what is there in its place."""
    return list(found.values()) if isinstance(found, dict) else [found]


def _register(opened: OpenedRun, name: str, scratch: str) -> bool:
    """Register a test set; where it cannot be used that becomes a remark, and False is returned.

    Paths in the config are those that the training had: from the folder that it ran in.
    """
    if not SHAPES.keys() & opened.results.get(name, {}).keys():
        return False
    run = opened.run.copy()
    run[settings.OUTPUT_DIR] = scratch
    if name in run[settings.TEST_DATASETS]:
        _find_split(run, opened.folder)
    else:  # nor is it the json of the config
        for json_setting, images_setting, _ in CUSTOM.values():
            run[json_setting] = run[images_setting] = ""
    run[settings.TEST_DATASETS] = (name,)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # what is changed was told in the training
            prepare_datasets(run, trains=False)
    except InputError as error:
        opened.remarks.append(
            f"What was detected in {name} cannot be compared with its objects, so that all but "
            f"the history and the metrics is left out: {error}"
        )
        return False
    return True


def _find_split(run: RunConfig, folder: Path) -> None:
    """Where a run's folder was moved, the json that it was split into moved with it."""
    setting, _, _ = CUSTOM["test"]
    given = str(run[setting])
    moved = folder / "data" / os.path.basename(given)
    if given and not os.path.isfile(given) and moved.is_file():
        run[setting] = str(moved)
