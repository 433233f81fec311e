"""Plots of a test set's detections: precision, recall and F1 of classes, and calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from hrnet_det.diagnosis.calibration import Calibration
from hrnet_det.diagnosis.curves import ClassCurve
from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.drawing.charts import COLOURS, LIMIT, Chart, draw_chart, plain

CURVES = 150  # classes whose curves are drawn
LEGEND = 8  # classes with a colour each
OTHERS = "#9db2d8"
STEPS = np.linspace(0, 1, 101)  # at which curves are drawn


def curve_charts(
    diagnosis: Diagnosis, numbers: dict[str, str], *, salt: str
) -> list[tuple[Markup, str]]:
    """Precision over recall, and F1 over the score, of each class and of all together.

    Returns: plots to stand in a page, each with its caption.
    Args:
        numbers: of classes on the page, by their names.
        salt: what tells these plots from others on the page.
    """
    known = [curve for curve in diagnosis.curves if curve.objects and len(curve.scores)]
    if not known:
        return []
    drawn = sorted(known, key=lambda curve: -curve.objects)[:CURVES]
    rest = f" The {CURVES} classes with most objects of {len(known)}." * (len(known) > CURVES)
    made = []
    for draw in (_precision, _f1):
        plot = partial(draw, curves=drawn, overall=diagnosis.overall, rest=rest)
        chart = draw_chart(plot, salt=f"{salt} {draw.__name__}", text=True)
        parts = {f"class-{n}": (numbers[c.name], c.name) for n, c in enumerate(drawn)}
        made.append((chart.inline(parts), chart.caption))
    return made


def _precision(axis: Axes, *, curves: Sequence[ClassCurve], overall: ClassCurve, rest: str) -> str:
    for number, curve in enumerate(curves):
        _line(axis, _highest(curve), number, curve, len(curves))
    if len(curves) > 1:
        axis.plot(STEPS, _highest(overall), color="black", lw=2, label="all classes")
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axis.grid(alpha=0.25)
    if 1 < len(curves) <= LEGEND:  # where recall is low, precision is seldom
        axis.legend(loc="lower left", fontsize=7.5, framealpha=0.7)
    return (
        "Precision (which part of the detections is right) over recall (which part of the objects "
        f"is found): the area under a curve is AP50.{rest}"
    )


def _f1(axis: Axes, *, curves: Sequence[ClassCurve], overall: ClassCurve, rest: str) -> str:
    for number, curve in enumerate(curves):
        _line(axis, _over_scores(curve), number, curve, len(curves))
    if len(curves) > 1:
        axis.plot(STEPS, _over_scores(overall), color="black", lw=2, label="all classes")
    if overall.advised is not None:
        axis.axvline(overall.advised, color=LIMIT, lw=0.9, ls="--")
    axis.set(
        xlabel="score from which detections are kept", ylabel="F1", xlim=(0, 1), ylim=(0, 1.02)
    )
    axis.grid(alpha=0.25)
    return (
        "F1, which is high where precision and recall are, over the score from which detections "
        "are kept. The advised score is where it is highest (dashed: of all classes together)."
        f"{_colours(len(curves))}{rest}"
    )


def _line(axis: Axes, values: np.ndarray, number: int, curve: ClassCurve, count: int) -> None:
    few = count <= LEGEND
    colour = f"C{number}" if few else OTHERS
    (line,) = axis.plot(STEPS, values, color=colour, lw=1.1, alpha=1 if few else 0.7)
    line.set_label(plain(curve.name) if few else "_")
    line.set_gid(f"class-{number}")


def _highest(curve: ClassCurve) -> np.ndarray:
    """The highest precision at each recall of STEPS or above it, as COCO's AP takes it."""
    highest = np.maximum.accumulate(curve.precision[::-1])[::-1]
    places = np.searchsorted(curve.recall, STEPS, side="left")
    return np.where(places < len(highest), highest[np.minimum(places, len(highest) - 1)], 0)


def _over_scores(curve: ClassCurve) -> np.ndarray:
    """F1 at each score of STEPS."""
    places = np.searchsorted(-curve.scores, -STEPS, side="right") - 1
    return np.where(places >= 0, curve.f1[np.maximum(places, 0)], 0)


def _colours(count: int) -> str:
    """Where it is said which class has which colour."""
    return " Colours as in the plot before." if 1 < count <= LEGEND else ""


def calibration_chart(diagnosis: Diagnosis) -> Chart | None:
    """Precision by score; None without detections."""
    if diagnosis.calibration.error is None:
        return None
    return draw_chart(partial(_calibration, bins=diagnosis.calibration))


def _calibration(axis: Axes, *, bins: Calibration) -> str:
    there = bins.count > 0
    width = np.diff(bins.edges)
    axis.bar(
        bins.edges[:-1][there],
        bins.precision[there],
        width[there] * 0.94,
        align="edge",
        color=COLOURS[0],
        alpha=0.75,
    )
    for left, height, count in zip(
        bins.edges[:-1][there], bins.precision[there], bins.count[there], strict=True
    ):
        axis.annotate(f"{count:,}", (left + 0.05, height), ha="center", va="bottom", fontsize=7)
    axis.plot([0, 1], [0, 1], color=LIMIT, lw=0.9, ls="--")
    axis.set(xlabel="score", ylabel="part that is right", xlim=(0, 1), ylim=(0, 1.08))
    return (
        "Which part of the detections of a score is right; above the bars how many these are. "
        "Below the dashed line scores are too high, above it too low. On average they are off by "
        f"{bins.error:.2f}."
    )
