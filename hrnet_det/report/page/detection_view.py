"""A test set's detections as the page of a run shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from hrnet_det.config.run_config import RunConfig
from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.diagnosis.tide import FALSE_NEGATIVES, FALSE_POSITIVES
from hrnet_det.drawing.charts import Chart
from hrnet_det.report.page.detection_charts import calibration_chart, curve_charts
from hrnet_det.report.page.detection_story import confused_pairs, detection_story
from hrnet_det.report.page.error_kinds import ERRORS
from hrnet_det.report.page.opened import SHAPES
from hrnet_det.report.page.training_story import Statement
from hrnet_det.report.page.worst_and_best import Shown, ShownImages
from hrnet_det.report.tables import NOTHING, percent

MATRIX = 20  # classes in the confusion matrix
PAIRS = 30  # of classes that are taken for each other
CLASS_HEADERS = (
    *("class", "objects", "AP", "AP50", "score", "precision", "recall", "F1"),
    *(error.short for error in ERRORS.values()),
)


@dataclass(frozen=True)
class Row:
    """A row of a table: the numbers of the classes that it is of, its name, and its cells."""

    classes: str
    name: str
    cells: Sequence[str]


@dataclass(frozen=True)
class ErrorRow:
    """A kind of error: `gain` is AP50 that would be won, beside the most of any kind."""

    title: str
    meaning: str
    count: str
    gain: float
    most: float


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix; `share` of the objects of its row, in 0..1."""

    count: str
    share: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """Rows of true classes, columns of found ones; the last of each is the background.

    Attributes:
        whole: whether it has all classes.
    """

    names: Sequence[str]
    rows: Sequence[tuple[str, str, Sequence[Cell]]]  # number, name
    whole: bool


@dataclass(frozen=True)
class DetectionView:
    """What the page shows of a test set's detections, by boxes or by masks.

    Attributes:
        images: groups of a title, an explanation, and images, each after its classes' numbers.
        remarks: what is left out of the images, and why.
    """

    title: str
    counts: str
    statements: Sequence[Statement]
    classes: Sequence[Row]
    curves: Sequence[tuple[Markup, str]]
    errors: Sequence[ErrorRow]
    matrix: Matrix
    pairs: Sequence[Row]
    calibration: Chart | None
    images: Sequence[tuple[str, str, Sequence[tuple[str, Shown]]]]
    remarks: Sequence[str]


def view_of(
    diagnosis: Diagnosis,
    run: RunConfig | None,
    weights: str,
    metrics: dict[str, float | None],
    names: Sequence[str],
    images: ShownImages,
) -> DetectionView:
    """The view of a diagnosis.

    Args:
        weights: as `detection_story` takes them.
        metrics: of the evaluation on this test set and task, for the AP of classes.
        names: of all classes of the page, whose places are the numbers of classes.
    """
    evaluated = diagnosis.evaluated
    numbers = {name: str(place) for place, name in enumerate(names)}
    task = SHAPES[evaluated.task]
    return DetectionView(
        title=f"{evaluated.dataset}, {task}",
        counts=(
            f"{len(evaluated.images):,} images, {diagnosis.overall.objects:,} objects, "
            f"{diagnosis.overall.detections:,} detections, compared by their {task}; up to "
            f"{diagnosis.images.objects.max(initial=0):,} objects in an image"
        ),
        statements=detection_story(diagnosis, run, weights, metrics),
        classes=class_rows(diagnosis, metrics, numbers),
        curves=curve_charts(diagnosis, numbers, salt=f"{evaluated.dataset} {task}"),
        errors=error_rows(diagnosis),
        matrix=matrix_of(diagnosis, numbers),
        pairs=pair_rows(diagnosis, numbers),
        calibration=calibration_chart(diagnosis),
        images=[
            (title, how, [(" ".join(numbers[name] for name in i.classes), i) for i in shown])
            for title, how, shown in (
                (
                    "Worst images",
                    "Those with the lowest F1, of various kinds of errors.",
                    images.worst,
                ),
                ("Best images", "Those with the highest F1, of various classes.", images.best),
            )
            if shown
        ],
        remarks=images.remarks,
    )


def class_rows(
    diagnosis: Diagnosis, metrics: dict[str, float | None], numbers: dict[str, str]
) -> list[Row]:
    """A row for each class, as CLASS_HEADERS say, and before them one for all together."""
    tide = diagnosis.tide
    errors = [f"{tide.counts[kind]:,}" for kind in ERRORS]
    rows = [Row("", "all classes", [*_rates(diagnosis.overall, metrics.get("AP")), *errors])]
    rows = rows if len(diagnosis.curves) > 1 else []
    for place, curve in enumerate(diagnosis.curves):
        errors = [f"{tide.class_counts[kind][place]:,}" for kind in ERRORS]
        alone = len(diagnosis.curves) == 1  # it has no AP of its own then
        ap = metrics.get("AP" if alone else f"AP-{curve.name}")
        cells = [*_rates(curve, ap), *errors]
        rows.append(Row(numbers[curve.name], curve.name, cells))
    return rows


def _rates(curve: object, ap: float | None) -> list[str]:
    """Objects, AP, AP50, advised score, precision, recall, F1."""
    rates = curve.at_advised
    shares = [NOTHING] * 3 if rates is None else [f"{value:.2f}" for value in rates]
    score = NOTHING if curve.advised is None else f"{curve.advised:g}"
    loose = None if curve.ap is None else 100 * curve.ap
    return [f"{curve.objects:,}", percent(ap), percent(loose), score, *shares]


def error_rows(diagnosis: Diagnosis) -> list[ErrorRow]:
    """The kinds of errors, the costliest first, and after them all wrong and all missing ones."""
    tide = diagnosis.tide
    gains = {kind: float(np.nan_to_num(tide.gains[kind])) for kind in tide.gains}
    most = max(*gains.values(), 0.1)
    rows = [
        ErrorRow(e.title, e.meaning, f"{tide.counts[kind]:,}", gains[kind], most)
        for kind, e in ERRORS.items()
    ]
    rows.sort(key=lambda row: -row.gain)
    for kind, title, meaning in (
        (FALSE_POSITIVES, "all wrong detections", "if their scores were below those of right ones"),
        (
            FALSE_NEGATIVES,
            "all objects not found",
            "if the objects that are not found were not annotated",
        ),
    ):
        rows.append(ErrorRow(title, meaning, "", gains[kind], most))
    return rows


def matrix_of(diagnosis: Diagnosis, numbers: dict[str, str]) -> Matrix:
    """The confusion matrix; of more than MATRIX classes those that are confused most."""
    counts, names = diagnosis.confusion, diagnosis.evaluated.classes
    size = len(names)
    chosen = np.arange(size)
    if size > MATRIX:
        among = counts[:size, :size].copy()
        np.fill_diagonal(among, 0)
        total = np.lexsort((-counts[:size].sum(1), -(among.sum(0) + among.sum(1))))
        chosen = np.sort(total[:MATRIX])
    places = [*chosen.tolist(), size]
    rows = []
    for i in places:
        whole = max(int(counts[i].sum()), 1)
        cells = [
            Cell(f"{counts[i, j]:,}" if counts[i, j] else "", counts[i, j] / whole, i == j)
            for j in places
        ]
        rows.append(
            ("", "background", cells) if i == size else (numbers[names[i]], names[i], cells)
        )
    return Matrix([name for _, name, _ in rows], rows, size <= MATRIX)


def pair_rows(diagnosis: Diagnosis, numbers: dict[str, str]) -> list[Row]:
    """Pairs of classes that are confused, the most frequent first: found as, count, share."""
    names, rows = diagnosis.evaluated.classes, []
    for i, j, count in confused_pairs(diagnosis)[:PAIRS]:
        share = f"{count / diagnosis.confusion[i].sum():.0%}"
        both = f"{numbers[names[i]]} {numbers[names[j]]}"
        rows.append(Row(both, names[i], [names[j], f"{count:,}", share]))
    return rows
