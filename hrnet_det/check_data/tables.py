"""The figures of a report: as rows for its page and its text, and as plain values for its json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from operator import itemgetter

import numpy as np

from hrnet_det.check_data.anchors import GOOD_IOU, POOR_IOU
from hrnet_det.check_data.report import Checked, Report
from hrnet_det.data.statistics import percentiles

ANCHOR_HEADERS = (
    "stride",
    "anchor sides",
    "best for objects",
    f"IoU under {POOR_IOU}",
    f"IoU under {GOOD_IOU}",
)


def dataset_rows(report: Report) -> list[tuple[str, ...]]:
    """A table with a column for each dataset: what is in it."""
    columns = [dict(_facts(checked)) for checked in report.datasets]
    names = list(dict.fromkeys(name for column in columns for name in column))
    return [
        ("", *(checked.source.name for checked in report.datasets)),
        *((name, *(column.get(name, "") for column in columns)) for name in names),
    ]


def _facts(checked: Checked) -> Iterator[tuple[str, str]]:
    source, objects = checked.source, checked.objects
    yield "json", source.path
    yield "images in", source.folder
    kinds = Counter(image.kind or "unreadable" for image in checked.decoded.values())
    yield "files", ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common(6))
    if objects is None or source.content is None:
        return
    found, total = objects.statistics, len(source.content["images"])
    crowds = sum(bool(row.get("iscrowd")) for row in source.content["annotations"])
    empty = int((found.objects_per_image == 0).sum())
    yield "images", f"{total:,}, {empty:,} without objects"
    yield "objects", f"{len(objects.rows):,}" + f", and {crowds:,} crowds" * bool(crowds)
    absent = int((found.objects_per_class == 0).sum())
    yield "classes", f"{len(found.classes):,}" + f", {absent:,} without objects" * bool(absent)
    numbers = [row["id"] for row in source.content["categories"]]
    if numbers:
        gaps = max(numbers) - min(numbers) + 1 - len(set(numbers))
        shown = f"{min(numbers)} to {max(numbers)}" + f", {gaps:,} numbers unused" * bool(gaps)
        yield "category ids", shown
    if not total or not len(objects.rows):
        return
    low, high = found.sides.min(axis=0), found.sides.max(axis=0)
    for side, least, most in zip(("height", "width"), low.tolist(), high.tolist(), strict=True):
        yield f"image {side}", f"{least:.0f}" + f" to {most:.0f}" * (most > least) + " pixels"
    counts = found.objects_per_image
    yield "objects per image", f"{np.median(counts):g} (median), {counts.max()} at most"
    yield "side of objects", _span(found.object_sides())
    if checked.fit:
        yield "after resizing", _span(checked.fit.sides)


def _span(sides: np.ndarray) -> str:
    low, middle, high = percentiles(sides, (5, 50, 95))
    return f"{middle:g} pixels (median), 90 % are {low:g} to {high:g}"


def anchor_rows(report: Report, checked: Checked) -> list[tuple[str, ...]]:
    """A row for each level of the pyramid, and one for all; [] without anchors or objects."""
    fit, levels = checked.fit, report.recipe.levels
    if not fit or not levels or not len(fit.ious):
        return []
    rows = []
    for number, level in enumerate(levels):
        sides = ", ".join(map(str, level.sides))
        rows.append((str(level.stride), sides, *_shares(fit.ious, fit.levels == number)))
    return [*rows, ("all", "", *_shares(fit.ious, fit.levels >= 0))]


def _shares(ious: np.ndarray, chosen: np.ndarray) -> tuple[str, str, str]:
    count, total = int(chosen.sum()), len(ious)
    poor, fair = (int((ious[chosen] < limit).sum()) for limit in (POOR_IOU, GOOD_IOU))
    least = max(count, 1)
    return f"{count:,} ({count / total:.0%})", f"{poor / least:.1%}", f"{fair / least:.1%}"


def class_rows(report: Report) -> list[tuple[str, ...]]:
    """The category's id and name, and its objects in each dataset; those of the most first."""
    counts: dict[str, list[int]] = {}
    numbers: dict[str, int] = {}
    for column, checked in enumerate(report.datasets):
        if checked.objects is None or checked.source.content is None:
            continue
        found = checked.objects.statistics
        ordered = sorted(checked.source.content["categories"], key=itemgetter("id"))
        for row, name, count in zip(
            ordered, found.classes, found.objects_per_class.tolist(), strict=True
        ):
            counts.setdefault(name, [0] * len(report.datasets))[column] += count
            numbers.setdefault(name, row["id"])
    names = sorted(counts, key=lambda name: (-sum(counts[name]), numbers[name]))
    return [(str(numbers[name]), name, *(f"{n:,}" for n in counts[name])) for name in names]


def as_json(report: Report) -> dict:
    """All of it as plain values: every id, counts of classes, and how the anchors fit."""
    return {
        "config": report.config,
        "notes": report.notes,
        "seconds": {part: round(seconds, 3) for part, seconds in report.seconds.items()},
        "datasets": [_dataset_json(report, checked) for checked in report.datasets],
        "problems": [
            {
                "dataset": problem.source.name,
                "kind": problem.finding.kind,
                "severity": problem.finding.severity,
                "text": problem.finding.text,
                "images": list(problem.finding.images),
                "annotations": list(problem.finding.annotations),
                "same_as": {str(k): list(place) for k, place in problem.beside.items()},
            }
            for problem in report.problems
        ],
    }


def _dataset_json(report: Report, checked: Checked) -> dict:
    made = {
        "name": checked.source.name,
        "json": checked.source.path,
        "images": checked.source.folder,
    }
    if checked.objects is None:
        return made
    found, fit = checked.objects.statistics, checked.fit
    counts = zip(found.classes, found.objects_per_class.tolist(), strict=True)
    made |= {"statistics": found.summary(), "objects_of_classes": dict(counts)}
    if fit and report.recipe.levels and len(fit.ious):
        made["anchors"] = {
            "objects_of_levels": np.bincount(
                fit.levels, minlength=len(report.recipe.levels)
            ).tolist(),
            "iou_under": {str(x): float((fit.ious < x).mean()) for x in (POOR_IOU, GOOD_IOU)},
        }
    return made
