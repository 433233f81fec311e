"""Of what kinds the errors in a test set are, and what each kind costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from hrnet_det.diagnosis.curves import average_precision
from hrnet_det.diagnosis.matching import Matches, ranks
from hrnet_det.diagnosis.objects import Evaluated, Objects, Pairs

KINDS = ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
CLS, LOC, BOTH, DUPE, BKG, MISS = range(len(KINDS))
FALSE_POSITIVES, FALSE_NEGATIVES = "FalsePos", "FalseNeg"
POSITIVE, BACKGROUND = 0.5, 0.1  # IoU: section 2.2 of the paper
RECALLS = np.arange(101) / 100  # tidecv's: some of COCO's are 1e-16 more


@dataclass(frozen=True)
class Tide:
    """The errors in a test set by kind.

    A class without true objects has NaN for its AP and gains, and is not in any mean; without any
    true object the means are NaN too.

    Attributes:
        ap: percent, mean over classes of the AP at IoU 0.5.
        gains: percent by which `ap` would rise, were the errors of a kind of KINDS, or all false
            positives, or all false negatives ("FalsePos", "FalseNeg") put right; never below 0.
        counts: how many errors of each kind of KINDS there are.
        class_ap: (C,) float64, percent.
        class_gains, class_counts: the same of each class, (C,) float64 and int64. A wrong
            detection is counted at the class that it was given, a missed object at its own.
            Gains may be below 0 here, and are NaN where nothing of the class would be left.
        kinds: (N_found,) int64, place in KINDS; -1 for right detections and those that are beyond
            the best so many. Those in a crowd have a kind as well, and are not in the counts.
        about: (N_found,) int64, place of the true object that a detection of the kinds Cls and
            Loc would have been right for, or that one of Dupe has found again; else -1.
        missed: (N_truth,) bool, the errors of the kind Miss.
    """

    ap: float
    gains: Mapping[str, float]
    counts: Mapping[str, int]
    class_ap: np.ndarray
    class_gains: Mapping[str, np.ndarray]
    class_counts: Mapping[str, np.ndarray]
    kinds: np.ndarray
    about: np.ndarray
    missed: np.ndarray


def tide(evaluated: Evaluated, pairs: Pairs, matches: Matches) -> Tide:
    """Sort the errors in a test set into kinds, and tell what AP would gain without each.

    Cls: on an object of another class, IoU >= 0.5. Loc: on one of its class, 0.1 <= IoU <= 0.5.
    Both: neither, with more than 0.1 on some object. Dupe: on an object that a better detection
    has found. Bkg: on nothing, IoU <= 0.1. Miss: an object that is not found, and that no error
    of Cls or Loc is on.

    Source: arXiv:2008.08115, section 2; tidecv 1.0.1, whose figures these are.
    Args:
        matches: COCO's, at IoU 0.5.
    Differs from source: detections of equal scores stay in their order when errors are put right
    (tidecv moves wrong ones before right ones, so that every repair costs AP). The means leave out
    classes without true objects, as COCO does (tidecv counts them as AP 0 once anything is
    detected as such). Of equal IoUs, and of an IoU of exactly 0.5 with a crowd, matching makes
    what COCO makes. The best detections of an image and class count, COCO's maxDets (tidecv: of
    an image). Detections in a crowd are not in the counts, though, as in tidecv, one of Cls or
    Loc may be put right. Precision is taken at the recalls 0.00, 0.01, ... exactly, as in tidecv;
    some of COCO's are 1e-16 more, so that its AP can be some hundredths of a percent lower.
    """
    truth, size = evaluated.truth, len(evaluated.classes)
    points = _Points.of(evaluated, matches)
    used = matches.found >= 0
    kinds, about = _kinds(evaluated, pairs, points, used)
    one, missed = _repairs(truth, kinds, about, used)
    objects, lost = (_count(truth.classes[which], size) for which in (~truth.crowd, missed))
    base = _class_aps(points, objects)
    without = {name: points.without(kinds == place) for place, name in enumerate(KINDS[:MISS])}
    without["Cls"] = without["Cls"].with_right(one & (kinds == CLS), truth.classes, about)
    without["Loc"] = without["Loc"].with_right(one & (kinds == LOC), truth.classes, about)
    put_right = {name: _class_aps(changed, objects) for name, changed in without.items()} | {
        "Miss": _class_aps(points, objects - lost),
        FALSE_POSITIVES: _class_aps(points.wrong_last(), objects),
        FALSE_NEGATIVES: _class_aps(points, _count(points.classes[points.right], size)),
    }
    counts = {
        name: _count(points.classes[points.counts & (kinds == place)], size)
        for place, name in enumerate(KINDS[:MISS])
    } | {"Miss": lost}
    present = objects > 0
    ap = _mean(base[present])
    return Tide(
        ap=ap,
        gains={name: _gain(aps[present], ap) for name, aps in put_right.items()},
        counts={name: int(of_classes.sum()) for name, of_classes in counts.items()},
        class_ap=np.where(present, base, np.nan),
        class_gains={name: np.where(present, a - base, np.nan) for name, a in put_right.items()},
        class_counts=counts,
        kinds=kinds,
        about=about,
        missed=missed,
    )


@dataclass(frozen=True)
class _Points:
    """What the curve of each class is made of: (N_found,) arrays.

    Attributes:
        counts: whether the detection is in the curve of its class.
        live: whether it is one of the best so many, in a crowd or not.
    """

    classes: np.ndarray
    scores: np.ndarray
    right: np.ndarray
    counts: np.ndarray
    live: np.ndarray

    @classmethod
    def of(cls, evaluated: Evaluated, matches: Matches) -> _Points:
        found = evaluated.found
        live = ranks(found) < evaluated.max_detections
        counts = live & ~matches.ignored
        return cls(found.classes, found.scores, matches.right, counts, live)

    def without(self, errors: np.ndarray) -> _Points:
        return replace(self, counts=self.counts & ~errors)

    def with_right(self, errors: np.ndarray, classes: np.ndarray, about: np.ndarray) -> _Points:
        """With errors made right detections of the objects that they are about."""
        labels = self.classes.copy()
        labels[errors] = classes[about[errors]]
        right, counts = self.right | errors, self.counts | errors
        return replace(self, classes=labels, right=right, counts=counts)

    def wrong_last(self) -> _Points:
        return replace(self, scores=self.right.astype(float))


def _kinds(
    evaluated: Evaluated, pairs: Pairs, points: _Points, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The kind of each detection, and the place of the object that it is about.

    Args:
        used: (N_truth,) bool, the objects that are found.
    """
    truth, wrong = evaluated.truth, points.live & ~points.right
    kept = wrong[pairs.found] & ~truth.crowd[pairs.truth]
    near = Pairs(pairs.found[kept], pairs.truth[kept], pairs.iou[kept])
    same = evaluated.found.classes[near.found] == truth.classes[near.truth]
    best, of_class = _best(near, same, len(wrong))
    other, of_other = _best(near, ~same, len(wrong))
    again, of_used = _best(near, same & used[near.truth], len(wrong))
    rules = (  # the first that applies
        (LOC, (best >= BACKGROUND) & (best <= POSITIVE), of_class),
        (CLS, other >= POSITIVE, of_other),
        (DUPE, again >= POSITIVE, of_used),
        (BKG, np.maximum(best, other) <= BACKGROUND, -1),
        (BOTH, True, -1),
    )
    kinds, about = np.full((2, len(wrong)), -1)
    for kind, applies, objects in rules:
        told = wrong & (kinds < 0) & applies
        kinds[told], about[told] = kind, np.broadcast_to(objects, told.shape)[told]
    return kinds, about


def _best(pairs: Pairs, allowed: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(size,) largest IoU of each detection in allowed pairs, and the first object that has it."""
    found, truth, iou = pairs.found[allowed], pairs.truth[allowed], pairs.iou[allowed]
    best = np.zeros(size)
    np.maximum.at(best, found, iou)
    reached = iou == best[found]
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, found[reached], truth[reached])
    return best, first


def _repairs(
    truth: Objects, kinds: np.ndarray, about: np.ndarray, used: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Which errors of Cls and Loc are put right, one for each object; and the objects missed.

    An object that is not found takes the best detection of both kinds, so that it is put right
    when one of the kinds is.
    """
    free = ~truth.crowd & ~used
    able = np.flatnonzero(np.isin(kinds, (CLS, LOC)))
    able = able[free[about[able]]]
    objects, places = np.unique(about[able], return_index=True)  # the first, which is the best
    one = np.zeros(len(kinds), bool)
    one[able[places]] = True
    free[objects] = False
    return one, free


def _class_aps(points: _Points, objects: np.ndarray) -> np.ndarray:
    """(C,) percent; NaN for a class that has neither detections nor objects."""
    counted = np.flatnonzero(points.counts)
    order = counted[np.argsort(-points.scores[counted], kind="stable")]
    order = order[np.argsort(points.classes[order], kind="stable")]
    ends = np.cumsum(_count(points.classes[order], len(objects)))
    rights = np.split(points.right[order], ends[:-1])
    return np.array([_ap(right, n) for right, n in zip(rights, objects, strict=True)])


def _ap(right: np.ndarray, objects: int) -> float:
    """AP in percent of detections of one class, the best first."""
    if not objects:
        return 0.0 if len(right) else np.nan
    return 100 * average_precision(right, objects, RECALLS)


def _count(classes: np.ndarray, size: int) -> np.ndarray:
    return np.bincount(classes, minlength=size)


def _gain(aps: np.ndarray, ap: float) -> float:
    """Not below 0; all that is lacking where no class has anything left."""
    left = _mean(aps)
    return 100 - ap if np.isnan(left) else max(left - ap, 0.0)


def _mean(aps: np.ndarray) -> float:
    known = aps[~np.isnan(aps)]
    return float(known.mean()) if len(known) else np.nan
