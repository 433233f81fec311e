"""The check of a run's datasets, and all that it has found."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from hrnet_det.check_data.anchors import Fit, fit
from hrnet_det.check_data.conventions import left_out
from hrnet_det.check_data.decoding import Decoded, Place, damaged, decode_all, same_pixels
from hrnet_det.check_data.duplicates import duplicate_findings
from hrnet_det.check_data.objects import Objects
from hrnet_det.check_data.recipe import Recipe, class_problems, follow_data, unsuitable
from hrnet_det.check_data.sources import Source, sources_of
from hrnet_det.check_data.suspicious import suspicious_objects
from hrnet_det.config import settings
from hrnet_det.config.files import config_folder, is_shipped
from hrnet_det.config.run_config import RunConfig
from hrnet_det.data.findings import Finding

SEVERITIES = ("error", "warning", "change")  # what matters most first


@dataclass(frozen=True)
class Problem:
    """A finding, and the dataset that it is of.

    Attributes:
        beside: of images that are the same as others, where one of those is.
    """

    source: Source
    finding: Finding
    beside: Mapping[int, Place] = field(default_factory=dict)


@dataclass
class Checked:
    """A dataset after its check.

    Attributes:
        objects: None where the json cannot be used.
        decoded: of each image id that has a file.
        fit: of the anchors to the objects; None where the size of images is not known.
    """

    source: Source
    objects: Objects | None = None
    decoded: dict[int, Decoded] = field(default_factory=dict)
    fit: Fit | None = None


@dataclass
class Report:
    """What `check` has found.

    Attributes:
        config: the name of the config whose settings data was compared with.
        problems: errors first.
        notes: what was set for the data.
        seconds: of each part of the check.
    """

    config: str
    recipe: Recipe
    datasets: list[Checked]
    problems: list[Problem]
    notes: list[str]
    seconds: dict[str, float]

    def of(self, severity: str) -> list[Problem]:
        return [problem for problem in self.problems if problem.finding.severity == severity]


class _Clock:
    """Seconds of the parts of the check."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part], self._last = now - self._last, now


def check(run: RunConfig, *, workers: int | None = None, progress: bool = False) -> Report:
    """Check the datasets of a run: their jsons, all images, and the run's settings for them.

    Args:
        workers: threads that decode images; by default one for each core.
        progress: shows how many images are done.
    Raises: as `sources_of`.
    """
    clock = _Clock()
    datasets = [Checked(source) for source in sources_of(run)]
    clock.lap("json")
    paths = {
        Place(checked.source.name, number): path
        for checked in datasets
        for number, path in checked.source.paths.items()
        if os.path.isfile(path)
    }
    decoded = _decode(paths, workers, run[settings.MAX_PIXELS], progress)
    groups = same_pixels(paths, decoded)
    clock.lap("images")
    for checked in datasets:
        name = checked.source.name
        checked.decoded = {place.image: d for place, d in decoded.items() if place.dataset == name}
        if checked.source.content:
            checked.objects = Objects.of(checked.source.content)
    if not any(checked.source.has_errors for checked in datasets):
        follow_data(run, [c.source for c in datasets], [c.objects for c in datasets])
    recipe = Recipe.of(run)
    for checked in datasets if recipe.scale else ():
        if checked.objects and not checked.source.has_errors:
            checked.fit = fit(checked.objects.statistics, recipe.scale, recipe.levels)
    trained = [checked for checked in datasets if not checked.source.tests]
    found = [
        problem
        for checked in datasets
        for problem in _problems(checked, recipe, trained if checked.source.tests else [], groups)
    ]
    found.sort(key=lambda problem: SEVERITIES.index(problem.finding.severity))
    clock.lap("objects")
    return Report(_name(run.path), recipe, datasets, found, run.notes, clock.seconds)


def _name(config: str) -> str:
    """A shipped config's name, another one's path."""
    return os.path.relpath(config, config_folder()) if is_shipped(config) else config


def _decode(
    paths: Mapping[Place, str], workers: int | None, most: int, progress: bool
) -> dict[Place, Decoded]:
    """What decoding shows of each image; a file that has several places is decoded once."""
    files = list(dict.fromkeys(paths.values()))
    decoded = decode_all(files, workers=workers, most=most)
    shown = tqdm(decoded, "images", len(files), disable=not progress)
    found = dict(zip(files, shown, strict=True))
    return {place: found[path] for place, path in paths.items()}


def _problems(
    checked: Checked, recipe: Recipe, trained: Sequence[Checked], groups: Sequence[Sequence[Place]]
) -> Iterator[Problem]:
    source, objects = checked.source, checked.objects
    findings = list(source.findings)
    errors = (found for found in findings if found.severity == "error" and not found.annotations)
    known = {number for found in errors for number in found.images}
    findings += damaged(source.paths, checked.decoded, known)
    if objects:
        findings += class_problems(objects, [other.objects for other in trained if other.objects])
    if objects and not source.has_errors:  # of wrong values nothing more would follow
        findings += suspicious_objects(objects)
        findings += unsuitable(recipe, objects, checked.fit)
        if not source.tests:
            crowds = [row for row in source.content["annotations"] if row.get("iscrowd")]
            findings += left_out(recipe.conventions, objects, crowds)
    yield from (Problem(source, finding) for finding in findings)
    names = [other.source.name for other in trained]
    for finding, beside in duplicate_findings(source.name, len(source.paths), groups, names):
        yield Problem(source, finding, beside)
