"""The plots of a run's page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from matplotlib.axes import Axes

from hrnet_det.drawing.charts import COLOURS, LIMIT, Chart, draw_chart, legend_above, plain
from hrnet_det.report.history import RATE, TOTAL, VALIDATION, Curve, History

POINTS = 600  # of a curve: more would not be seen
GREY = "#8a9099"
FALLEN = 20  # a loss that falls to less than this part of itself is drawn over powers of ten


def history_charts(history: History, metrics: Sequence[str]) -> list[Chart]:
    """Losses, their parts, metrics of evaluations, and the learning rate, as far as there are any.

    Args:
        metrics: as metrics.json names them; those that were measured twice or more are drawn.
    """
    charts = []
    if len(history.curve(TOTAL)) > 1:
        charts.append(draw_chart(partial(_losses, history=history)))
        measured = [name for name in metrics if len(history.curve(name)) > 1]
        if measured:
            charts.append(draw_chart(partial(_metrics, history=history, names=measured)))
        charts += [draw_chart(partial(_parts, history=history))] * bool(history.losses)
        charts.append(draw_chart(partial(_rate, history=history)))
    return charts


def _losses(axis: Axes, *, history: History) -> str:
    _plot(axis, history.curve(TOTAL), COLOURS[0], label="training")
    tested = history.curve(f"{VALIDATION}total")
    said = "Total loss of the training images."
    if tested:
        _plot(axis, tested, COLOURS[1], marker="o", label="test set")
        said = (
            "Total loss of training and test images. While both fall, it learns what holds for new "
            "images too; where that of the test set rises and the other goes on falling, it "
            "overfits."
        )
        if 0 < (place := tested.lowest()) < len(tested) - 1:
            at = tested.iterations[place]
            axis.axvline(at, color=LIMIT, lw=0.8, ls="--", label=f"lowest at {at:,}")
    values = [*history.curve(TOTAL).values, *tested.values]
    axis.set(ylabel="loss")
    if 0 < FALLEN * min(values) < max(values):
        axis.set_yscale("log")
    else:
        axis.set_ylim(min(0, *values), None)
    _finish(axis, legend=bool(tested))
    return said


def _metrics(axis: Axes, *, history: History, names: Sequence[str]) -> str:
    for number, name in enumerate(names):
        curve = history.curve(name)
        _plot(axis, curve, COLOURS[number % len(COLOURS)], marker="o", label=plain(name, 40))
        if not number:
            place = curve.highest()
            point = (curve.iterations[place], curve.values[place])
            axis.plot(*point, "o", ms=10, mfc="none", color=LIMIT)
    axis.set(ylabel="percent", ylim=0)
    _finish(axis, legend=True)
    return f"Metrics of the test set at each evaluation; the best {names[0]} is circled."


def _parts(axis: Axes, *, history: History) -> str:
    tested = False
    for number, name in enumerate(history.losses):
        colour = f"C{number % 10}"
        _plot(axis, history.curve(name), colour, label=plain(name.removeprefix("loss_")))
        if curve := history.curve(f"{VALIDATION}{name}"):
            tested = True
            axis.plot(curve.iterations, curve.values, "o--", color=colour, ms=3, lw=1)
    axis.set(ylabel="loss", ylim=0)
    _finish(axis, legend=True)
    return "Its parts in training" + ("; dashed: on the test set." if tested else ".")


def _rate(axis: Axes, *, history: History) -> str:
    _plot(axis, history.curve(RATE), GREY)
    axis.set(ylabel="learning rate", ylim=0)
    _finish(axis, legend=False)
    return "The learning rate."


def _plot(axis: Axes, curve: Curve, colour: str, **style: object) -> None:
    """A curve, thinned out to about POINTS."""
    step = max(1, len(curve) // POINTS)
    x, y = curve.iterations[::-step][::-1], curve.values[::-step][::-1]
    axis.plot(x, y, color=colour, **{"lw": 1.2, "ms": 3} | style)


def _finish(axis: Axes, *, legend: bool) -> None:
    axis.set(xlabel="iteration")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.25)
    if legend:
        legend_above(axis)
