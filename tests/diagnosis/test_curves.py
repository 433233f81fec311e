"""Curves, AP and advised scores: AP as pycocotools has it, the rest by hand."""

import numpy as np
import pytest
from helpers.coco_results import random_data
from helpers.diagnosis import coco_evaluation, evaluated_of

from hrnet_det.diagnosis.arrays import Predictions
from hrnet_det.diagnosis.curves import (
    Rates,
    advised_scores,
    average_precision,
    class_curves,
    overall_curve,
)
from hrnet_det.diagnosis.matching import match
from hrnet_det.diagnosis.pairs import overlaps

BOX, FAR = [0, 0, 10, 10], [50, 50, 10, 10]


def curves_of(evaluated, iou=0.5):
    matches = match(evaluated, overlaps(evaluated), iou)
    curves = class_curves(evaluated, matches)
    return curves, overall_curve(evaluated, matches, curves)


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_ap_is_that_of_pycocotools(task, seed):
    truth, results = random_data(seed)
    made = coco_evaluation(truth, results, task, limit=20)
    evaluated = Predictions(truth, results, max_detections=20).evaluated(task)
    for iou in (0.75, 0.5):
        row = int(np.flatnonzero(np.isclose(made.params.iouThrs, iou))[0])
        expected = made.eval["precision"][row, :, :, 0, -1].mean(axis=0)  # (classes,), -1 without
        curves, overall = curves_of(evaluated, iou)
        assert (expected < 0).tolist() == [False, False, True, False]
        assert [curve.ap is None for curve in curves] == [False, False, True, False]
        given = [curve.ap for curve in curves if curve.ap is not None]
        np.testing.assert_allclose(given, expected[expected >= 0], rtol=0, atol=1e-9)
        assert overall.ap == pytest.approx(expected[expected >= 0].mean(), abs=1e-9)
        assert all(value > 0.01 for value in given)
    objects = [row for row in truth["annotations"] if not row["iscrowd"]]
    assert overall.objects == len(objects) < len(truth["annotations"])


def test_a_curve_by_hand():
    """Three objects; right, wrong and right at one score, wrong, and one in a crowd."""
    evaluated = evaluated_of(
        truth=[(0, 0, BOX), (1, 0, BOX), (2, 0, BOX), (2, 0, [100, 100, 50, 50], "crowd")],
        found=[
            (0, 0, BOX, 0.9),
            (0, 0, FAR, 0.5),
            (1, 0, BOX, 0.5),
            (1, 0, FAR, 0.25),
            (2, 0, [110, 110, 10, 10], 0.7),
        ],
        images=3,
    )
    (curve, empty), overall = curves_of(evaluated)
    assert (curve.name, curve.objects, curve.detections) == ("cat", 3, 4)
    assert curve.scores.tolist() == [0.9, 0.5, 0.25]
    assert curve.precision.tolist() == [1, 2 / 3, 2 / 4]
    assert curve.recall.tolist() == [1 / 3, 2 / 3, 2 / 3]
    assert curve.f1.tolist() == [2 / 4, 4 / 6, 4 / 7]
    # F1 is 2/3 from every score above 0.25 up to 0.5; of 0.26 ... 0.5 the middle is 0.38.
    assert curve.advised == 0.38
    assert curve.at_advised == Rates(2 / 3, 2 / 3, 2 / 3)
    assert curve.at(0.5) == Rates(2 / 3, 2 / 3, 2 / 3)
    assert curve.at(0.51) == Rates(1, 1 / 3, 2 / 4)
    assert curve.at(0.91) is None
    # Precision 1 at recalls 0 ... 0.33, then 2/3 at 0.34 ... 0.66: of equal scores the wrong one,
    # of image 0, comes before the right one of image 1.
    assert curve.ap == pytest.approx((34 * 1 + 33 * 2 / 3) / 101)
    assert (empty.objects, empty.detections, empty.ap, empty.advised) == (0, 0, None, None)
    assert empty.at(0) is empty.at_advised is None
    assert (overall.name, overall.objects, overall.ap) == ("", 3, curve.ap)
    assert overall.f1.tolist() == curve.f1.tolist()
    assert advised_scores([curve, empty], overall).tolist() == [0.38, 0.38]


def test_a_class_without_objects_has_detections_that_are_all_wrong():
    evaluated = evaluated_of(truth=[(0, 0, BOX)], found=[(0, 1, BOX, 0.8), (0, 0, FAR, 0.6)])
    curves, overall = curves_of(evaluated)
    assert [curve.ap for curve in (*curves, overall)] == [0, None, 0]
    assert [curve.advised for curve in (*curves, overall)] == [None] * 3
    dog = curves[1]
    assert (dog.precision.tolist(), dog.recall.tolist(), dog.f1.tolist()) == ([0], [0], [0])
    assert dog.at(0.8) == Rates(0, 0, 0)
    assert overall.scores.tolist() == [0.8, 0.6]
    assert advised_scores(curves, overall).tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("right", "wrong", "advised"),
    [
        (0.9, 0.3, 0.6),  # of 0.31 ... 0.9
        (0.9, 0.05, 0.48),  # of 0.06 ... 0.9
        (0.9971, 0.9962, 0.997),  # no hundredth is between them
        (0.99715, 0.99712, 0.99715),  # nor anything of four digits
        (0.004, 0.001, 0.003),
        (1.0, 0.5, 0.75),
    ],
)
def test_the_advised_score_is_a_short_number_between_two_detections(right, wrong, advised):
    found = [(0, 0, BOX, right), (0, 0, FAR, wrong)]
    (curve, _), _ = curves_of(evaluated_of(truth=[(0, 0, BOX)], found=found))
    assert curve.advised == advised
    assert curve.at_advised == Rates(1, 1, 1)


def test_average_precision_at_its_ends():
    assert average_precision(np.ones(4, bool), 4) == 1
    assert average_precision(np.zeros(0, bool), 4) == 0
    assert average_precision(np.ones(0, bool), 0) is None
