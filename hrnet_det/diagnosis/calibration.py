"""Whether scores mean what they say: of detections with a score of 0.8, are 80 percent right?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hrnet_det.diagnosis.matching import Matches
from hrnet_det.diagnosis.objects import Evaluated

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Detections by their scores, in bins of equal width.

    Attributes:
        edges: (B + 1,) scores between which the bins are.
        count: (B,) int64, detections in each; those that are ignored do not count.
        score: (B,) their mean score; nan for empty bins.
        precision: (B,) which part of them is right; nan for empty bins.
        error: the expected calibration error, how far score and precision are apart on average
            over detections; None without any.
    """

    edges: np.ndarray
    count: np.ndarray
    score: np.ndarray
    precision: np.ndarray
    error: float | None


def calibration(evaluated: Evaluated, matches: Matches) -> Calibration:
    """The calibration of all detections.

    Source: the expected calibration error of arXiv:1706.04599 section 2, of detections as
        arXiv:2004.13546 has it (by score alone).
    """
    counted = ~matches.ignored
    scores, right = evaluated.found.scores[counted], matches.right[counted]
    bins = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    count = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, weights, minlength=BINS) for weights in (scores, right))
    with np.errstate(invalid="ignore"):
        score, precision = (total / count for total in sums)
    error = float(np.nansum(count * abs(score - precision)) / len(scores)) if len(scores) else None
    return Calibration(np.linspace(0, 1, BINS + 1), count, score, precision, error)
