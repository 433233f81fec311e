"""Which images a file is checked with, and what is told of the check."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
from torch import nn

from hrnet_det.config.run_config import RunConfig
from hrnet_det.export.cases import Cases
from hrnet_det.export.formats import Engine
from hrnet_det.export.graph import DetectorGraph
from hrnet_det.export.options import ExportOptions
from hrnet_det.export.samples import Sample, drawn, paths_in, read_all, resized, split_paths, spread
from hrnet_det.export.told import summary, table
from hrnet_det.export.verify import Verification
from hrnet_det.modeling.inference.borrowed import borrowed, least_score

IMAGES = 4  # of a user's own
SHAPES = ((40, 60), (120, 480))  # height and width of images that are unlike photographs
GREY = (240, 320)
NEVER = 1.0  # no score is larger

Again = Callable[[ExportOptions], AbstractContextManager[Engine]]  # the same file, other options


def check(
    model: nn.Module,
    run: RunConfig,
    options: ExportOptions,
    engine: Engine,
    again: Again,
    say: Callable[[str], object],
) -> dict:
    """Run a file on images of several sizes, one without objects included, and compare.

    Args:
        model: PyTorch's detector, as it was exported.
        engine: of the file.
        again: writes the file with other options for a while, and opens it.
        say: told a line, or a table.
    Returns: what was compared, and how it differs, for the file's metadata.
    Raises: InputError if the file does not compute the same.
    """
    samples, source = _samples(run, options)
    with borrowed(model, options.of_model()):
        verification = _verification(model, run, options, engine)
        for sample in samples:
            verification.check(verification.cases.of(sample))
        if options.part == "detector":
            _check_empty(verification)
    others = [verification]
    for score in _lacking(verification, options, say):
        others.append(_check_at(score, model, run, options, again, samples))
    rows = [row for each in others for row in each.rows]
    say(f"compared with PyTorch on {source}, by {engine.name}:\n{table(rows, options.precision)}")
    for each in others:
        each.finish()
    return summary(rows, engine, verification)


def _verification(
    model: nn.Module, run: RunConfig, options: ExportOptions, engine: Engine
) -> Verification:
    return Verification(
        engine,
        Cases(model, run, options),
        outputs=DetectorGraph(model, run, options).outputs,
        least=least_score(model),
        most=options.max_detections or run.detections_per_image,
        errors=getattr(options.row.load(), "UNREADABLE", (RuntimeError, ValueError)),
    )


def _samples(run: RunConfig, options: ExportOptions) -> tuple[list[Sample], str]:
    """Images, and in words where they are from."""
    if options.images:
        samples, source = read_all(spread(paths_in(options.images), IMAGES), run), "--images"
    elif paths := split_paths(run, "test"):
        samples, source = read_all(spread(paths, IMAGES), run), "images of the run's test set"
    else:
        samples, source = drawn(), "drawn images (the run's test set is not here: --images FOLDER)"
    first = samples[0]
    if not options.size:
        turned = np.ascontiguousarray(np.rot90(first.pixels))
        samples.append(Sample(f"{first.name}, turned", turned))
        for size in SHAPES:
            samples.append(Sample(first.name, resized(first.pixels, size)))
    samples.append(_flat("grey", 128))
    return samples, source


def _flat(name: str, level: int) -> Sample:
    return Sample(name, np.full((*GREY, 3), level, np.uint8))


def _check_empty(verification: Verification) -> None:
    """Check with an image without objects, if there has been none and one is easily had."""
    if _has_empty(verification):
        return
    for sample in (_flat("black", 0), _flat("white", 255)):
        case = verification.cases.of(sample)
        if not any(len(found) for found in verification.cases.expected(case)):
            verification.check(case)
            return


def _has_empty(verification: Verification) -> bool:
    return any(not d.expected for row in verification.rows for d in row.differences)


def _lacking(
    verification: Verification, options: ExportOptions, say: Callable[[str], object]
) -> list[float]:
    """Scores at which the file has to be written again, so that all has been compared."""
    if options.part != "detector" or verification.faults:
        return []
    scores, words = [], []
    if not _has_empty(verification):
        scores.append(NEVER)
        words.append("in every image something is found")
    if not any(row.objects for row in verification.rows):
        scores.append(0.0)
        words.append("in no image is anything found")
    if not scores:
        return []
    if options.precision == "int8":
        say(f"{', and '.join(words)}: the other case is not checked in int8; give --images")
        return []
    shown = " and ".join(f"{score:g}" for score in scores)
    say(f"{', and '.join(words)}: a file with a least score of {shown} is checked as well")
    return scores


def _check_at(
    score: float,
    model: nn.Module,
    run: RunConfig,
    options: ExportOptions,
    again: Again,
    samples: Sequence[Sample],
) -> Verification:
    other = replace(options, score=score)
    with borrowed(model, other.of_model()), again(other) as engine:
        verification = _verification(model, run, other, engine)
        for sample in samples[:2]:
            case = verification.cases.of(sample)
            verification.check(replace(case, name=f"{sample.name}, score {score:g}"))
    return verification
