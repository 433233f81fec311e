"""The page of a run: what a detector has learnt, what is wrong with it, and what to do next."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import hrnet_det
from hrnet_det.checkpoint.run_weights import run_weights
from hrnet_det.checkpoint.writing import written_aside
from hrnet_det.config import settings
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.mapper import build_test_mapper, reader_of
from hrnet_det.diagnosis.diagnosis import Diagnosis, diagnose
from hrnet_det.diagnosis.loading import load_predictions
from hrnet_det.drawing.pages import render
from hrnet_det.errors import InputError
from hrnet_det.modeling.kinds import kind_of
from hrnet_det.outputs import check_folder
from hrnet_det.report.page.detection_view import CLASS_HEADERS, DetectionView, view_of
from hrnet_det.report.page.image_pair import MARKS
from hrnet_det.report.page.opened import SHAPES, OpenedRun, of_run, opened_run
from hrnet_det.report.page.training_charts import history_charts
from hrnet_det.report.page.training_story import NEUTRAL, Statement, training_story
from hrnet_det.report.page.worst_and_best import worst_and_best
from hrnet_det.report.tables import class_tables, metric_tables, notes

PAGE, SUFFIXES = "report.html", (".html", ".htm")
IMAGES = 5_000_000  # bytes of all images on the page
logger = logging.getLogger(__name__)
TEMPLATE = Path(__file__).with_name("page.html")


def write_page(
    run: RunConfig | str | Path,
    output: str | Path | None = None,
    *,
    mapper: Callable[[dict], dict] | None = None,
) -> Path:
    """Write the page of a run, one file that needs no other; returns its path.

    Args:
        run: one that has ended in this process, or the OUTPUT_DIR of one.
        output: the file; by default report.html in OUTPUT_DIR.
        mapper: what has read the images of the evaluation; by default as the config says.
    Raises: InputError if the folder is that of no run, or the file cannot be written;
        MissingInputError if it is not there.
    """
    if isinstance(run, RunConfig):
        path = Path(output or Path(str(run[settings.OUTPUT_DIR]), PAGE))
        return _write(as_page(of_run(run), mapper), path)
    path = Path(output or Path(run, PAGE))
    with opened_run(run) as opened:
        _check(path)
        written = _write(as_page(opened, mapper), path)
        for remark in opened.remarks:  # what the page lacks; one that was there may have had it
            logger.warning(remark)
    return written


def _check(path: Path) -> None:
    """Raises: InputError before the work is done whose page could not be written, or would take
    the place of something else, such as the run's weights.
    """
    shown = f"--output {path}"
    if path.is_dir():
        raise InputError(f"{shown} is a folder: name the file, such as {path / PAGE}")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{shown}: the page is HTML: give a name that ends with {SUFFIXES[0]}")
    check_folder(path.absolute().parent, shown=shown, advice="name another file")


def _write(page: str, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_aside(path, advice="make room, or name another file (--output)") as file:
        file.write(page.encode())
    return path


def as_page(opened: OpenedRun, mapper: Callable[[dict], dict] | None = None) -> str:
    """HTML with all plots and images in it; what is the user's is escaped."""
    measured = [
        f"{name}/{metric}" for name in _tasks(opened) for metric in _drawn(name.split("/")[-1])
    ]
    metrics = list(dict.fromkeys([opened.metric, *measured]))
    names, views = _views(opened, mapper)
    best = "model_best.pth" if (opened.folder / "model_best.pth").is_file() else ""
    story = training_story(opened.history, opened.run, opened.metric, best=best)
    return render(
        TEMPLATE,
        title=_title(opened),
        facts=list(_facts(opened)),
        statements=[*_reached(opened), *story],
        remarks=opened.remarks,
        tables={name: (metric_tables(t), notes(t)) for name, t in opened.results.items()},
        class_tables=[
            (name, table) for name, t in opened.results.items() for table in class_tables(t)
        ],
        history=history_charts(opened.history, metrics),
        views=views,
        names=names,
        class_headers=CLASS_HEADERS,
        marks=MARKS,
        version=hrnet_det.__version__,
    )


def _views(
    opened: OpenedRun, mapper: Callable[[dict], dict] | None
) -> tuple[list[str], list[DetectionView]]:
    """The names of all classes, and a view of each test set by boxes and by masks.

    What cannot be shown becomes a remark.
    """
    found = [d for dataset in opened.datasets for d in _diagnoses(opened, dataset)]
    if opened.results and not any(SHAPES.keys() & t.keys() for t in opened.results.values()):
        opened.remarks.append(
            "What this detector gives are no objects that could be looked at one by one: there are "
            "its metrics and its history alone."
        )
    names = list(dict.fromkeys(name for d in found for name in d.evaluated.classes))
    views, weights = [], _weights(opened)
    read = reader_of(mapper or build_test_mapper(opened.run)) if found else None
    for diagnosis in found:
        evaluated = diagnosis.evaluated
        metrics = opened.results[evaluated.dataset][evaluated.task]
        images = worst_and_best(diagnosis, read, budget=IMAGES // len(found))
        views.append(view_of(diagnosis, opened.run, weights, metrics, names, images))
    return names, views


def _diagnoses(opened: OpenedRun, dataset: str) -> Iterator[Diagnosis]:
    """What was detected in a test set, by boxes and by masks. What cannot be becomes a remark."""
    tasks = [task for task in SHAPES if task in opened.results.get(dataset, {})]
    try:
        predictions = load_predictions(opened.run, dataset) if tasks else None
    except InputError as error:
        opened.remarks.append(f"{dataset}: single detections are left out: {error}.")
        return
    for task in tasks:
        try:
            yield diagnose(predictions.evaluated(task))
        except InputError as error:
            opened.remarks.append(
                f"{dataset}, {SHAPES[task]}: single detections are left out: {error}."
            )


def _weights(opened: OpenedRun) -> str:
    """What predict is given for the run's weights: its folder, or the file that was evaluated."""
    try:
        run_weights(opened.folder)
    except InputError:
        given = str(opened.run[settings.WEIGHTS]) if opened.run else ""
        return given if os.path.isfile(given) else ""
    return str(opened.folder)


def _tasks(opened: OpenedRun) -> list[str]:
    """Tasks of test sets, as metrics.json names them."""
    several = len(opened.results) > 1
    return [
        f"{name}/{task}" if several else task
        for name, tasks in opened.results.items()
        for task in tasks
    ]


def _drawn(task: str) -> tuple[str, ...]:
    """The metrics of a task that are drawn over a training."""
    return {
        "bbox": ("AP", "AP50"),
        "segm": ("AP",),
        "keypoints": ("AP",),
        "box_proposals": ("AR@1000", "AR@100"),
        "sem_seg": ("mIoU", "IoU"),
        "panoptic_seg": ("PQ", "SQ", "RQ"),
    }.get(task, ())


def _title(opened: OpenedRun) -> str:
    """The run's folder, whose name people give."""
    return opened.folder.resolve().name


def _facts(opened: OpenedRun) -> Iterator[str]:
    run = opened.run
    if run is not None:
        yield f"{kind_of(run).title}"
        if variant := run[settings.VARIANT]:
            yield f"HRNet {variant}"
        if trained := run[settings.TRAIN_DATASETS]:
            yield f"trained on {', '.join(trained)}"
    if opened.history:
        batch = f" of {run[settings.BATCH_SIZE]} images" if run else ""
        yield f"{opened.history.iteration + 1:,} iterations{batch}"


def _reached(opened: OpenedRun) -> Iterator[Statement]:
    """What the detector reaches on each test set."""
    task, metric = opened.metric.split("/")[-2:]
    for name, tasks in opened.results.items():
        values = tasks.get(task, {})
        value = values.get(metric)
        if value is None:
            continue
        text = f"{task}/{metric} on {name} is {value:.1f}"
        if (loose := values.get("AP50")) is not None:
            text += (
                ", a mean over classes and over how well a detection has to fit its object (IoU "
                f"0.50 to 0.95); where 0.50 is enough it is {loose:.1f} (AP50)"
            )
        yield Statement(NEUTRAL, f"{text}.")
    if not opened.results:
        yield Statement(
            NEUTRAL,
            "The detector was not evaluated: there is no AP, and nothing is known of its errors.",
            "Evaluate it (train --eval-only), or name a test set (DATASETS.TEST, or a json to test "
            "on) in the next training.",
        )
