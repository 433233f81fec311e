"""Plots of a report's datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from hrnet_det.check_data.anchors import GOOD_IOU, POOR_IOU
from hrnet_det.check_data.report import Checked, Report
from hrnet_det.drawing.charts import COLOURS, LIMIT, Chart, draw_chart, legend_above, plain

MOST_CLASSES = 25  # in the plot of classes


def draw_charts(report: Report) -> list[Chart]:
    """The plots that a report's datasets have values for."""
    datasets = [checked for checked in report.datasets if checked.objects]
    datasets = [checked for checked in datasets if len(checked.objects.rows)]
    if not datasets:
        return []
    draws = [_classes, _objects_per_image]
    if len(np.unique(np.concatenate([c.objects.statistics.sides for c in datasets]), axis=0)) > 1:
        draws.append(_image_sizes)
    if all(checked.fit for checked in datasets):
        draws += [_object_sides, _ratios]
        if report.recipe.levels:
            draws.append(_ious)
    return [draw_chart(partial(draw, report=report, datasets=datasets)) for draw in draws]


def _named(datasets: Sequence[Checked]) -> Iterator[tuple[str, str, Checked]]:
    """Colour, name on the plot, and dataset of each."""
    for number, checked in enumerate(datasets):
        yield COLOURS[number % len(COLOURS)], plain(checked.source.name), checked


def _classes(axis: Axes, report: Report, datasets: Sequence[Checked]) -> str:
    counts = [
        dict(zip(c.objects.statistics.classes, c.objects.statistics.objects_per_class, strict=True))
        for c in datasets
    ]
    total: Counter[str] = Counter()
    for count in counts:
        total.update({name: int(number) for name, number in count.items()})
    names = [name for name, _ in total.most_common(MOST_CLASSES)]
    height = 0.8 / len(datasets)
    for number, (colour, name, _) in enumerate(_named(datasets)):
        places = np.arange(len(names)) + height * (number - (len(datasets) - 1) / 2)
        axis.barh(
            places, [counts[number].get(n, 0) for n in names], height, color=colour, label=name
        )
    axis.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=7)
    axis.invert_yaxis()
    axis.set(xlabel="objects")
    _legend(axis, datasets)
    most = f", the {MOST_CLASSES} most frequent of {len(total)}" * (len(total) > MOST_CLASSES)
    return f"Objects of each class{most}."


def _objects_per_image(axis: Axes, report: Report, datasets: Sequence[Checked]) -> str:
    most = max(int(c.objects.statistics.most_objects) for c in datasets)
    limit = report.recipe.detections
    bins = np.arange(-0.5, most + 1) if most <= 60 else np.linspace(-0.5, most + 0.5, 51)
    for colour, name, checked in _named(datasets):
        _steps(axis, checked.objects.statistics.objects_per_image, bins, colour, name)
    if limit is not None and limit <= 3 * most:
        axis.axvline(limit, color=LIMIT, linestyle="--", label=f"detections: {limit}")
    axis.set(xlabel="objects in an image", ylabel="% of images", ylim=0)
    _legend(axis, datasets, always=limit is not None and limit <= 3 * most)
    said = "" if limit is None else f" At most {limit} detections are given for an image."
    return f"Objects in an image.{said}"


def _image_sizes(axis: Axes, report: Report, datasets: Sequence[Checked]) -> str:
    for colour, name, checked in _named(datasets):
        sizes, counts = np.unique(checked.objects.statistics.sides, axis=0, return_counts=True)
        areas = (1000 * counts / counts.sum()).clip(10, 200)
        order = np.argsort(-counts)[:2000]
        axis.scatter(
            sizes[order, 1], sizes[order, 0], areas[order], color=colour, alpha=0.45, label=name
        )
    axis.set(xlabel="width, pixels", ylabel="height, pixels")
    axis.margins(0.1)
    _legend(axis, datasets)
    return "Sizes of images; larger discs are more images."


def _object_sides(axis: Axes, report: Report, datasets: Sequence[Checked]) -> str:
    sides = [checked.fit.sides.clip(0.5) for checked in datasets]
    low, high = min(x.min() for x in sides), max(x.max() for x in sides)
    anchors = [side for level in report.recipe.levels for side in level.sides]
    low, high = min([low, *anchors]) * 0.9, max([high, *anchors]) * 1.1
    bins = np.geomspace(low, high, 41)
    for (colour, name, _), values in zip(_named(datasets), sides, strict=True):
        _steps(axis, values, bins, colour, name)
    for number, side in enumerate(anchors):
        axis.axvline(
            side, color=LIMIT, linewidth=0.8, linestyle="--", label="anchors" * (not number)
        )
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set(xlabel="side of objects after resizing, pixels", ylabel="% of objects", ylim=0)
    _legend(axis, datasets, always=bool(anchors))
    shown = f" Anchors have the sides {', '.join(map(str, anchors))}." if anchors else ""
    return f"√(width x height) of objects after resizing: {report.recipe.scale}.{shown}"


def _ratios(axis: Axes, report: Report, datasets: Sequence[Checked]) -> str:
    bins = np.geomspace(1 / 12, 12, 49)
    for colour, name, checked in _named(datasets):
        width, height = checked.fit.sizes.clip(0.1).T
        _steps(axis, (height / width).clip(bins[0], bins[-1]), bins, colour, name)
    anchors = sorted(
        {
            round(float((y1 - y0) / (x1 - x0)), 2)
            for level in report.recipe.levels
            for x0, y0, x1, y1 in level.boxes
        }
    )
    for number, ratio in enumerate(anchors):
        axis.axvline(
            ratio, color=LIMIT, linewidth=0.8, linestyle="--", label="anchors" * (not number)
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks([1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axis.set(xlabel="height / width", ylabel="% of objects", ylim=0)
    _legend(axis, datasets, always=bool(anchors))
    return "Shapes of objects; beyond 12 and 1/12 they are counted at the ends."


def _ious(axis: Axes, report: Report, datasets: Sequence[Checked]) -> str:
    bins = np.linspace(0, 1, 41)
    for colour, name, checked in _named(datasets):
        _steps(axis, checked.fit.ious, bins, colour, name)
    for limit in (POOR_IOU, GOOD_IOU):
        axis.axvline(limit, color=LIMIT, linewidth=0.8, linestyle="--")
    axis.set(xlabel="IoU with the best anchor", ylabel="% of objects", ylim=0, xlim=(0, 1))
    _legend(axis, datasets)
    return (
        f"How well the anchors fit. From {GOOD_IOU} on an anchor learns an object in any case; "
        f"objects under {POOR_IOU} are learnt from few and poor examples."
    )


def _steps(axis: Axes, values: np.ndarray, bins: np.ndarray, colour: str, name: str) -> None:
    """A histogram in percent."""
    weights = np.full(len(values), 100 / max(len(values), 1))
    axis.hist(values, bins, weights=weights, color=colour, alpha=0.35)
    axis.hist(values, bins, weights=weights, color=colour, histtype="step", label=name)


def _legend(axis: Axes, datasets: Sequence[Checked], *, always: bool = False) -> None:
    if always or len(datasets) > 1:
        legend_above(axis)
