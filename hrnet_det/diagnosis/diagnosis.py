"""All that is told of a test set's detections, from one pass over what overlaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnet_det.diagnosis.calibration import Calibration, calibration
from hrnet_det.diagnosis.curves import ClassCurve, advised_scores, class_curves, overall_curve
from hrnet_det.diagnosis.images import ImageCounts, image_counts
from hrnet_det.diagnosis.matching import Matches, match
from hrnet_det.diagnosis.objects import Evaluated, Pairs
from hrnet_det.diagnosis.outcomes import Outcomes, confusion, outcomes
from hrnet_det.diagnosis.pairs import overlaps
from hrnet_det.diagnosis.tide import Tide, tide


@dataclass(frozen=True)
class Diagnosis:
    """What is right and wrong with the detections of a test set, at an IoU of 0.5.

    Attributes:
        curves: of each class, in the order of `evaluated.classes`; overall: of all together.
        outcomes: what becomes of each detection and true object at each class's advised score, or
            at what stands for it (`outcomes.scores`).
        confusion: (C + 1, C + 1), as `outcomes.confusion` tells, at these scores.
        images: counts of each image at these scores.
        tide: the kinds of errors of all detections, whatever their scores, and what each costs.
    """

    evaluated: Evaluated
    pairs: Pairs
    matches: Matches
    curves: tuple[ClassCurve, ...]
    overall: ClassCurve
    outcomes: Outcomes
    confusion: np.ndarray
    calibration: Calibration
    images: ImageCounts
    tide: Tide


def diagnose(evaluated: Evaluated) -> Diagnosis:
    """What is right and wrong with the detections of a test set."""
    pairs = overlaps(evaluated)
    matches = match(evaluated, pairs)
    curves = class_curves(evaluated, matches)
    overall = overall_curve(evaluated, matches, curves)
    results = outcomes(evaluated, pairs, matches, advised_scores(curves, overall))
    return Diagnosis(
        evaluated=evaluated,
        pairs=pairs,
        matches=matches,
        curves=tuple(curves),
        overall=overall,
        outcomes=results,
        confusion=confusion(evaluated, results),
        calibration=calibration(evaluated, matches),
        images=image_counts(evaluated, results),
        tide=tide(evaluated, pairs, matches),
    )
