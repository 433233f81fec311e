"""Whether a limit on the number of detections keeps AP low, in words."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hrnet_det.config.run_config import RunConfig
from hrnet_det.diagnosis.diagnosis import Diagnosis
from hrnet_det.report.page.training_story import BAD, Statement


def limits(diagnosis: Diagnosis, run: RunConfig | None) -> Iterator[Statement]:
    """Whether the most detections of an image are too few."""
    evaluated, count = diagnosis.evaluated, len(diagnosis.evaluated.images)
    objects = np.bincount(evaluated.truth.image[~evaluated.truth.crowd], minlength=count)
    if run is not None:
        most, name = run.detections_per_image, run.name(run.detections_setting)
        more = int((objects > most).sum())
        if more:
            yield Statement(
                BAD,
                f"{more:,} of {count:,} images have more objects (up to {objects.max():,}) than "
                f"the {most:,} detections that the detector gives for an image.",
                f"Raise {name} (to {_round_up(int(objects.max())):,}), and evaluate again.",
            )
        elif cut := _cut(diagnosis, most):
            yield Statement(
                BAD,
                f"In {cut:,} of {count:,} images all of the {most:,} detections that the detector "
                "gives have scores that are high enough to be used: the limit may leave out more.",
                f"Raise {name}, and evaluate again.",
            )
    classes, truth = len(evaluated.classes), evaluated.truth
    alike = truth.image[~truth.crowd] * classes + truth.classes[~truth.crowd]
    of_class = np.unique(alike, return_counts=True)[1].max(initial=0)
    if of_class > evaluated.max_detections:
        yield Statement(
            BAD,
            f"AP counts the best {evaluated.max_detections:,} detections of a class in an image "
            f"(maxDets), but images have up to {of_class:,} objects of one: AP cannot reach 100.",
            "COCO's own sets are measured so; other data follows TEST.DETECTIONS_PER_IMAGE.",
        )


def _cut(diagnosis: Diagnosis, most: int) -> int:
    """In how many images all of the most detections have scores that would be used."""
    found, used = diagnosis.evaluated.found, diagnosis.outcomes.scores
    good = found.image[found.scores >= used[found.classes]]
    return int((np.bincount(good, minlength=1) >= most).sum())


def _round_up(number: int) -> int:
    return -(-number * 6 // 5 // 50) * 50  # a fifth more, in fifties, as trainings on own data do
