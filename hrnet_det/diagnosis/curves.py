"""Precision and recall by the score from which detections are kept, and the score to advise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hrnet_det.diagnosis.matching import Matches
from hrnet_det.diagnosis.objects import Evaluated

RECALLS = np.linspace(0, 1, 101)  # at which COCO's AP takes the precision
# Of an advised score: digits at most, and the F1 that fewer digits may lose.
DIGITS, LOSS = 4, 0.001
DEFAULT_SCORE = 0.5  # where nothing is found right, so that no score can be advised


class Rates(NamedTuple):
    """What holds for detections from a score on: parts of 1."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class ClassCurve:
    """How right the detections of a class are, by the score from which they are kept.

    Attributes:
        name: of the class; "" for all classes together.
        objects: how many true objects all of it rests on; crowds do not count.
        detections: how many; those in crowds and beyond max_detections do not count.
        ap: COCO's AP at the matches' IoU, in 0..1; None without objects. Of all classes: the mean
            over those with objects.
        scores: (K,) the detections' scores, falling, each once.
        precision, recall, f1: (K,) in 0..1, where the detections of at least that score are kept.
            Without objects recall and F1 are 0.
        advised: the score from which F1 is highest (to 0.001), in the middle between those of two
            detections; None if nothing is found right.
    """

    name: str
    objects: int
    detections: int
    ap: float | None
    scores: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    advised: float | None

    def at(self, score: float) -> Rates | None:
        """What holds where detections of at least a score are kept; None if there are none."""
        place = int(np.searchsorted(-self.scores, -score, side="right")) - 1
        if place < 0:
            return None
        return Rates(*(float(v[place]) for v in (self.precision, self.recall, self.f1)))

    @property
    def at_advised(self) -> Rates | None:
        """What holds at the advised score; None if there is none."""
        return None if self.advised is None else self.at(self.advised)


def class_curves(evaluated: Evaluated, matches: Matches) -> list[ClassCurve]:
    """The curve of each class, in the order of `evaluated.classes`."""
    found, truth = evaluated.found, evaluated.truth
    objects = np.bincount(truth.classes[~truth.crowd], minlength=len(evaluated.classes))
    counted = np.flatnonzero(~matches.ignored)
    # By class, best first; equal scores in the order of images, as in COCO's evaluation.
    order = counted[np.lexsort((-found.scores[counted], found.classes[counted]))]
    ends = np.searchsorted(found.classes[order], np.arange(len(evaluated.classes) + 1))
    scores, right, curves = found.scores[order], matches.right[order], []
    for place, name in enumerate(evaluated.classes):
        own, number = slice(*ends[place : place + 2]), int(objects[place])
        ap = average_precision(right[own], number)
        curves.append(_curve(name, number, scores[own], right[own], ap))
    return curves


def overall_curve(
    evaluated: Evaluated, matches: Matches, curves: Sequence[ClassCurve]
) -> ClassCurve:
    """The curve of the detections of all classes together, with one score for all."""
    found, counted = evaluated.found, np.flatnonzero(~matches.ignored)
    ranked = counted[np.argsort(-found.scores[counted], kind="stable")]
    measured = [curve.ap for curve in curves if curve.ap is not None]
    ap = float(np.mean(measured)) if measured else None
    objects = sum(curve.objects for curve in curves)
    return _curve("", objects, found.scores[ranked], matches.right[ranked], ap)


def advised_scores(curves: Sequence[ClassCurve], overall: ClassCurve) -> np.ndarray:
    """(C,) the score from which detections of each class are to be kept.

    Where none can be advised it is that of all classes together, and DEFAULT_SCORE without that.
    """
    default = DEFAULT_SCORE if overall.advised is None else overall.advised
    return np.array([default if c.advised is None else c.advised for c in curves], np.float64)


def average_precision(
    right: np.ndarray, objects: int, recalls: np.ndarray = RECALLS
) -> float | None:
    """COCO's AP of detections, best first, in 0..1; None without objects.

    Source: COCOeval.accumulate of pycocotools, to rounding.
    Args:
        recalls: at which the precision is taken.
    """
    if not objects:
        return None
    found = np.cumsum(right)
    precision = found / np.arange(1, len(right) + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]  # at this recall or a higher one
    places = np.searchsorted(found / objects, recalls, side="left")
    return float(highest[places[places < len(right)]].sum() / len(recalls))


def _curve(
    name: str, objects: int, scores: np.ndarray, right: np.ndarray, ap: float | None
) -> ClassCurve:
    """Of detections that count, best first."""
    last = np.ones(len(scores), bool)  # of those with one score, which are kept together
    last[:-1] = scores[:-1] != scores[1:]
    kept, found = np.flatnonzero(last) + 1, np.cumsum(right)[last]
    f1 = 2 * found / (kept + objects) if objects else np.zeros(len(kept))
    return ClassCurve(
        name=name,
        objects=objects,
        detections=len(scores),
        ap=ap,
        scores=scores[last],
        precision=found / kept,
        recall=found / objects if objects else np.zeros(len(kept)),
        f1=f1,
        advised=_advised(scores[last], f1) if found.any() else None,
    )


def _advised(scores: np.ndarray, f1: np.ndarray) -> float:
    """The score from which F1 is highest, with as few digits as lose next to nothing of it.

    Args:
        scores: falling; f1: (K,) where detections of at least these are kept.
    """
    for digits in range(2, DIGITS + 1):
        steps = 10**digits
        given = np.arange(1, steps) / steps
        places = np.searchsorted(-scores, -given, side="right") - 1  # the last one that is kept
        reached = np.where(places >= 0, f1[places], 0.0)
        best = int(np.argmax(reached))
        if reached[best] >= f1.max() - LOSS:
            alike = np.flatnonzero(places == places[best])  # between two detections' scores
            return float(given[alike[(len(alike) - 1) // 2]])
    return float(scores[np.argmax(f1)])
