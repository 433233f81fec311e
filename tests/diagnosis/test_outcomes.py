"""What becomes of detections and objects, and what is counted of it: all by hand."""

import math

import numpy as np
import pytest
from helpers.diagnosis import evaluated_of

from hrnet_det.diagnosis.calibration import calibration
from hrnet_det.diagnosis.diagnosis import diagnose
from hrnet_det.diagnosis.images import image_counts
from hrnet_det.diagnosis.matching import match
from hrnet_det.diagnosis.outcomes import Outcome, confusion, outcomes
from hrnet_det.diagnosis.pairs import overlaps

CAT, DOG, COW = range(3)
CLASSES = ("cat", "dog", "cow")


def box(left):
    """100 square pixels in the first row of an image."""
    return [left, 0, 10, 10]


@pytest.fixture
def farm():
    """A set of five images with every outcome; the fourth has nothing, the last one object."""
    return evaluated_of(
        classes=CLASSES,
        images=5,
        truth=[
            (0, CAT, box(0)),
            (0, CAT, box(20)),
            (0, DOG, box(40)),
            (0, DOG, [100, 100, 50, 50], "crowd"),
            (1, CAT, box(0)),
            (2, DOG, box(0)),
            (4, COW, box(0)),
        ],
        found=[
            (0, CAT, box(0), 0.95),  # right
            (0, CAT, [0, 0, 10, 9], 0.9),  # once more
            (0, DOG, box(20), 0.8),  # a dog for a cat
            (0, COW, box(20), 0.7),  # another label on that cat, which is taken
            (0, DOG, [46, 0, 10, 10], 0.6),  # IoU 4 / 16: at the wrong place
            (0, DOG, [100, 100, 10, 10], 0.5),  # in the crowd
            (0, CAT, box(40), 0.1),  # below the score
            (1, CAT, box(100), 0.9),  # nothing is there
            (2, DOG, box(0), 0.9),  # right
        ],
    )


def told(evaluated, score=0.3):
    pairs = overlaps(evaluated)
    matches = match(evaluated, pairs)
    return outcomes(evaluated, pairs, matches, np.full(len(evaluated.classes), score))


def test_every_outcome(farm):
    result = told(farm)
    assert [Outcome(value).name for value in result.found] == [
        *("RIGHT", "DUPLICATE", "WRONG_CLASS", "DUPLICATE", "MISPLACED", "IGNORED", "UNUSED"),
        *("BACKGROUND", "RIGHT"),
    ]
    assert result.partner.tolist() == [0, 0, 1, 1, 2, 3, -1, -1, 5]
    assert result.truth.tolist() == [0, 2, -1, -1, -1, 8, -1]
    assert np.flatnonzero(result.missed).tolist() == [2, 4, 6]
    assert np.flatnonzero(result.confused).tolist() == [1]
    assert np.flatnonzero(result.right).tolist() == [0, 8]
    assert np.flatnonzero(result.wrong).tolist() == [1, 2, 3, 4, 7]


def test_a_lower_score_lets_more_count(farm):
    """The cat of 0.1 is at the place of a dog that nothing else has found."""
    result = told(farm, 0.1)
    assert result.found[6] == Outcome.WRONG_CLASS
    assert np.flatnonzero(result.missed).tolist() == [4, 6]
    nothing = told(farm, 0.99)
    assert set(nothing.found) == {Outcome.UNUSED}
    assert nothing.partner.tolist() == [-1] * 9
    assert np.flatnonzero(nothing.missed).tolist() == [0, 1, 2, 4, 5, 6]


def test_each_class_has_its_score(farm):
    pairs = overlaps(farm)
    scores = np.array([0.92, 0.3, 0.75])
    result = outcomes(farm, pairs, match(farm, pairs), scores)
    assert np.flatnonzero(result.found == Outcome.UNUSED).tolist() == [1, 3, 6, 7]
    assert result.scores is scores


def test_the_confusion_matrix(farm):
    """Rows: true cats, dogs, cows, and nothing; columns: found as such, and missed."""
    matrix = confusion(farm, told(farm))
    assert matrix.tolist() == [
        [1, 1, 0, 1],  # the dog for a cat
        [0, 1, 0, 1],
        [0, 0, 0, 1],
        [2, 1, 1, 0],  # a cat twice, and one of nothing; a misplaced dog; a cow on a taken cat
    ]
    assert matrix[:-1].sum(axis=1).tolist() == [3, 2, 1]  # objects without crowds


def test_of_several_candidates_those_that_overlap_most_belong_together():
    """Two dogs near one cat: the one with the higher score fits less."""
    evaluated = evaluated_of(
        truth=[(0, CAT, box(0))],
        found=[(0, DOG, [0, 0, 10, 6], 0.9), (0, DOG, [0, 0, 10, 9], 0.8)],
    )
    result = told(evaluated)
    assert [Outcome(value).name for value in result.found] == ["DUPLICATE", "WRONG_CLASS"]
    assert confusion(evaluated, result).tolist() == [[0, 1, 0], [0, 0, 0], [0, 1, 0]]


def test_counts_of_images(farm):
    counts = image_counts(farm, told(farm))
    assert counts.objects.tolist() == [3, 1, 1, 0, 1]
    assert counts.right.tolist() == [1, 0, 1, 0, 0]
    assert counts.wrong.tolist() == [4, 1, 0, 0, 0]
    assert counts.missed.tolist() == [1, 1, 0, 0, 1]
    assert counts.f1.tolist()[:3] == [2 / 8, 0, 1]
    assert math.isnan(counts.f1[3]) and counts.f1[4] == 0
    # Images 1 and 4 have F1 0; the first has two errors. The fourth image says nothing.
    assert counts.worst.tolist() == [1, 4, 0, 2]
    assert counts.best.tolist() == [2, 0, 1, 4]


def test_calibration():
    """Of three detections with about 0.8 two are right, of two with about 0.1 none."""
    evaluated = evaluated_of(
        truth=[(0, CAT, box(0)), (0, CAT, box(20)), (0, CAT, [100, 100, 50, 50], "crowd")],
        found=[
            (0, CAT, box(0), 0.8),
            (0, CAT, box(20), 0.85),
            (0, CAT, box(40), 0.87),
            (0, CAT, box(60), 0.1),
            (0, DOG, box(60), 0.14),
            (0, CAT, [110, 110, 10, 10], 0.99),  # in the crowd
        ],
    )
    matches = match(evaluated, overlaps(evaluated))
    found = calibration(evaluated, matches)
    assert found.edges.tolist() == pytest.approx([n / 10 for n in range(11)])
    assert found.count.tolist() == [0, 2, 0, 0, 0, 0, 0, 0, 3, 0]
    assert found.score[[1, 8]].tolist() == pytest.approx([0.12, 0.84])
    assert found.precision[[1, 8]].tolist() == pytest.approx([0, 2 / 3])
    assert np.isnan(found.score[[0, 9]]).all() and np.isnan(found.precision[[0, 9]]).all()
    assert found.error == pytest.approx((2 * 0.12 + 3 * (0.84 - 2 / 3)) / 5)


def test_a_score_of_one_is_in_the_last_bin():
    evaluated = evaluated_of(truth=[(0, CAT, box(0))], found=[(0, CAT, box(0), 1.0)])
    found = calibration(evaluated, match(evaluated, overlaps(evaluated)))
    assert (found.count[9], found.error) == (1, 0)


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_a_diagnosis_fits_together(task):
    """What is told at the advised scores is the same in curves, confusion matrix and images."""
    rows = [(0, CAT, box(0)), (0, DOG, box(20)), (1, DOG, box(0))]
    found = [(*row, 0.9 - 0.1 * n) for n, row in enumerate(rows)]
    found += [(1, DOG, box(40), 0.95), (1, CAT, box(40), 0.2)]
    evaluated = evaluated_of(truth=rows, found=found, images=3, classes=CLASSES, task=task)
    result = diagnose(evaluated)
    assert [curve.advised for curve in result.curves] == [0.55, 0.35, None]
    assert result.outcomes.scores.tolist() == [0.55, 0.35, result.overall.advised]
    assert np.diag(result.confusion).tolist() == [1, 2, 0, 0]
    assert result.confusion[-1].tolist() == [0, 1, 0, 0]
    assert result.curves[DOG].at_advised == pytest.approx((2 / 3, 1, 0.8))
    assert result.images.right.tolist() == [2, 1, 0]
    assert result.images.worst.tolist() == [1, 0]
    assert result.calibration.count.sum() == 5
    assert result.overall.ap == pytest.approx(np.mean([c.ap for c in result.curves[:2]]))


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize(
    ("truth", "found", "matrix", "f1"),
    [
        ([], [], [[0, 0], [0, 0]], math.nan),
        ([(0, 0, box(0))], [], [[0, 1], [0, 0]], 0),
        ([], [(0, 0, box(0), 0.9)], [[0, 0], [1, 0]], 0),
        ([(0, 0, box(0), "crowd")], [(0, 0, box(0), 0.9)], [[0, 0], [0, 0]], math.nan),
        ([(0, 0, box(0))], [(0, 0, box(0), 0.9)], [[1, 0], [0, 0]], 1),
    ],
)
def test_sets_of_nothing_or_next_to_nothing(task, truth, found, matrix, f1):
    evaluated = evaluated_of(truth=truth, found=found, classes=["one"], task=task)
    result = diagnose(evaluated)
    assert result.confusion.tolist() == matrix
    assert result.images.f1.tolist() == pytest.approx([f1], nan_ok=True)


def test_a_set_without_images():
    result = diagnose(evaluated_of(truth=[], found=[], images=0))
    assert (len(result.images.worst), result.confusion.sum()) == (0, 0)
