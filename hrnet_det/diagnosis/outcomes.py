"""What becomes of each detection and true object, where detections are kept from a score on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from hrnet_det.diagnosis.matching import Matches
from hrnet_det.diagnosis.objects import Evaluated, Pairs

NEAR = 0.1  # the IoU from which a detection is about an object, if at the wrong place


class Outcome(IntEnum):
    """What a detection is."""

    UNUSED = 0  # its score is too low
    RIGHT = 1
    WRONG_CLASS = 2  # at the place of an object of another class, which nothing else has found
    DUPLICATE = 3  # at the place of an object that another detection has found
    MISPLACED = 4  # near an object of its class, but overlapping it too little
    BACKGROUND = 5  # where there is nothing of the kind
    IGNORED = 6  # in a crowd, or after the best max_detections of its image and class


WRONG = (Outcome.WRONG_CLASS, Outcome.DUPLICATE, Outcome.MISPLACED, Outcome.BACKGROUND)


@dataclass(frozen=True)
class Outcomes:
    """What becomes of each detection and each true object.

    Attributes:
        scores: (C,) from which score on detections of each class are kept.
        found: (N_found,) int8, the Outcome of each detection.
        partner: (N_found,) int64, place in `Evaluated.truth` of the object that it finds, takes for
            another class, finds again or is near, or of the crowd that it is in; -1 for none.
        truth: (N_truth,) int64, place in `Evaluated.found` of the detection that finds a true
            object or takes it for another class; -1 for those missed, and for crowds.
        missed: (N_truth,) bool: true objects, not crowds, that no detection finds, nor takes for
            another class.
        confused: (N_truth,) bool: those that a detection takes for another class.
    """

    scores: np.ndarray
    found: np.ndarray
    partner: np.ndarray
    truth: np.ndarray
    missed: np.ndarray
    confused: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """(N_found,) bool."""
        return self.found == Outcome.RIGHT

    @property
    def wrong(self) -> np.ndarray:
        """(N_found,) bool: kept, and right about nothing."""
        return np.isin(self.found, WRONG)


def outcomes(evaluated: Evaluated, pairs: Pairs, matches: Matches, scores: np.ndarray) -> Outcomes:
    """What becomes of detections and true objects.

    What is right is so by COCO's matching. Of the rest a detection and an object of different
    classes belong together if they overlap as much as a match wants, those that overlap most first.

    Args:
        scores: (C,) from which score on detections of each class are kept.
    """
    truth, found = evaluated.truth, evaluated.found
    kept = found.scores >= scores[found.classes]
    state = np.where(kept, Outcome.BACKGROUND, Outcome.UNUSED).astype(np.int8)
    state[kept & matches.ignored] = Outcome.IGNORED
    state[kept & matches.right] = Outcome.RIGHT
    partner = np.where(kept, matches.truth, -1)
    by = matches.found.copy()
    by[by >= 0] = np.where(kept[by[by >= 0]], by[by >= 0], -1)

    open_ = (state[pairs.found] == Outcome.BACKGROUND) & ~truth.crowd[pairs.truth]
    d, g, iou = (values[open_] for values in (pairs.found, pairs.truth, pairs.iou))
    alike, close = found.classes[d] == truth.classes[g], iou >= matches.threshold
    for place in _most_overlapping(~alike & close & (by[g] < 0), iou):
        if by[g[place]] < 0 and partner[d[place]] < 0:
            by[g[place]], partner[d[place]] = d[place], g[place]
            state[d[place]] = Outcome.WRONG_CLASS
    for chosen, outcome in (
        (close & (by[g] >= 0), Outcome.DUPLICATE),
        (alike & ~close & (iou >= NEAR), Outcome.MISPLACED),
    ):
        for place in _most_overlapping(chosen, iou):
            if partner[d[place]] < 0:
                state[d[place]], partner[d[place]] = outcome, g[place]
    confused = by >= 0
    confused[confused] = state[by[confused]] == Outcome.WRONG_CLASS
    return Outcomes(
        scores=scores,
        found=state,
        partner=partner,
        truth=by,
        missed=(by < 0) & ~truth.crowd,
        confused=confused,
    )


def confusion(evaluated: Evaluated, outcomes: Outcomes) -> np.ndarray:
    """(C + 1, C + 1) int64: how many objects of a class (row) were found as a class (column).

    The last column has what was missed, the last row what was found where nothing is or where
    another detection is right; a row's sum is the number of objects of its class.
    """
    truth, found, number = evaluated.truth, evaluated.found, len(evaluated.classes)
    pairs = outcomes.truth >= 0
    alone = outcomes.wrong & (outcomes.found != Outcome.WRONG_CLASS)
    missed = truth.classes[outcomes.missed]
    invented = found.classes[alone]
    rows = [truth.classes[pairs], missed, np.full(len(invented), number)]
    columns = [found.classes[outcomes.truth[pairs]], np.full(len(missed), number), invented]
    matrix = np.zeros((number + 1, number + 1), np.int64)
    np.add.at(matrix, (np.concatenate(rows), np.concatenate(columns)), 1)
    return matrix


def _most_overlapping(chosen: np.ndarray, iou: np.ndarray) -> list[int]:
    """The places of chosen pairs, those that overlap most first."""
    places = np.flatnonzero(chosen)
    return places[np.argsort(-iou[places], kind="stable")].tolist()
