"""A report as a page that needs no other file."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from hrnet_det.check_data.charts import draw_charts
from hrnet_det.check_data.report import SEVERITIES, Problem, Report
from hrnet_det.check_data.samples import Sample, draw_sample
from hrnet_det.check_data.sources import Source
from hrnet_det.check_data.tables import ANCHOR_HEADERS, anchor_rows, class_rows, dataset_rows
from hrnet_det.check_data.text import TITLES, summary
from hrnet_det.data.findings import Finding
from hrnet_det.drawing.pages import render

SAMPLES = 3  # of each problem
IDS = 500  # of each problem on the page
TEMPLATE = Path(__file__).with_name("page.html")


def as_page(report: Report) -> str:
    """HTML with all images in it; what is the data's is escaped."""
    samples = _Samples(report)
    shown = [_Shown(p.source, p.finding, samples.of(p)) for p in report.problems]
    groups = [
        (name, TITLES[name].capitalize(), [s for s in shown if s.finding.severity == name])
        for name in SEVERITIES
    ]
    return render(
        TEMPLATE,
        summary=summary(report),
        config=report.config,
        scale=report.recipe.scale,
        datasets=dataset_rows(report),
        groups=groups,
        notes=report.notes,
        charts=draw_charts(report),
        anchors=[(c.source.name, anchor_rows(report, c)) for c in report.datasets],
        anchor_headers=ANCHOR_HEADERS,
        classes=class_rows(report),
        names=[checked.source.name for checked in report.datasets],
    )


@dataclass(frozen=True)
class _Shown:
    """A problem as the page has it."""

    source: Source
    finding: Finding
    samples: list[Sample]

    @property
    def ids(self) -> Iterator[tuple[str, str, int]]:
        """What ids these are, the first of them, and how many more there are."""
        for what, ids in (("image", self.finding.images), ("annotation", self.finding.annotations)):
            if ids:
                title = f"{len(ids):,} {what} id{'s' * (len(ids) > 1)}"
                yield title, ", ".join(map(str, ids[:IDS])), max(len(ids) - IDS, 0)


class _Samples:
    """Draws what a report's problems look like."""

    def __init__(self, report: Report) -> None:
        self._paths = {checked.source.name: checked.source.paths for checked in report.datasets}
        self._rows = {}
        for checked in report.datasets:
            content = checked.source.content or {"images": (), "annotations": ()}
            self._rows[checked.source.name] = tuple(
                {row["id"]: row for row in content[rows_of]}
                for rows_of in ("images", "annotations")
            )

    def of(self, problem: Problem) -> list[Sample]:
        """Up to SAMPLES images of a problem, each with its annotations that are concerned."""
        name, finding = problem.source.name, problem.finding
        images, annotations = self._rows[name]
        marks = defaultdict(list)
        for number in finding.annotations:
            if number in annotations:
                marks[annotations[number]["image_id"]].append(annotations[number])
        chosen = (
            number
            for number in list(marks) or finding.images
            if number in images and os.path.isfile(self._paths[name][number])
        )
        return [
            draw_sample(
                self._paths[name][number],
                images[number],
                marks[number],
                self._beside(problem, number),
            )
            for number in islice(chosen, SAMPLES)
        ]

    def _beside(self, problem: Problem, number: int) -> tuple[str, str] | None:
        """The file of an image that is the same, and what to call that image."""
        place = problem.beside.get(number)
        if place is None:
            return None
        return self._paths[place.dataset][place.image], f"image {place.image} of {place.dataset}"
