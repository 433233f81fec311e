"""Kinds of errors: by hand, and beside tidecv."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.tide_data import random_set, run_tidecv
from tidecv.errors import main_errors

from hrnet_det.diagnosis.matching import match
from hrnet_det.diagnosis.objects import Evaluated, EvaluatedImage, Objects
from hrnet_det.diagnosis.pairs import overlaps
from hrnet_det.diagnosis.tide import KINDS, Tide, tide

ERRORS = {
    "Cls": main_errors.ClassError,
    "Loc": main_errors.BoxError,
    "Both": main_errors.OtherError,
    "Dupe": main_errors.DuplicateError,
    "Bkg": main_errors.BackgroundError,
    "Miss": main_errors.MissedError,
}


def diagnosed(evaluated: Evaluated) -> Tide:
    pairs = overlaps(evaluated)
    return tide(evaluated, pairs, match(evaluated, pairs))


def all_counts(told: Tide) -> dict[str, int]:
    """As tidecv counts, which has detections in crowds among the errors."""
    counts = {kind: int((told.kinds == place).sum()) for place, kind in enumerate(KINDS)}
    return counts | {"Miss": int(told.missed.sum())}


def distinct(scores: np.ndarray) -> np.ndarray:
    """Scores of the same order, equal ones in theirs."""
    places = np.empty(len(scores))
    places[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return 1 - places / len(scores)


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("seed", range(5))
def test_the_figures_are_tidecv_s(seed, ties, masks):
    evaluated = random_set(seed, masks=masks, ties=ties)
    told = diagnosed(evaluated)
    run = run_tidecv(evaluated, distinct(evaluated.found.scores))
    expected = run.fix_main_errors() | run.fix_special_errors()
    assert told.ap == pytest.approx(run.ap, abs=1e-9) and 5 < told.ap < 60
    assert told.gains == pytest.approx(
        {error.short_name: gain for error, gain in expected.items()}, abs=1e-9
    )
    counted = {error.short_name: count for error, count in run.count_errors().items()}
    assert all_counts(told) == counted and min(counted.values()) > 3
    assert sum(told.counts.values()) < sum(counted.values())  # without those in crowds
    for number in range(len(evaluated.classes)):
        ap = run.ap_data.objs[number].get_ap()
        assert told.class_ap[number] == pytest.approx(ap, abs=1e-9)
        for kind, error in ERRORS.items():
            fixed = run.fix_errors(lambda e, error=error: isinstance(e, error)).objs[number]
            assert told.class_gains[kind][number] == pytest.approx(fixed.get_ap() - ap, abs=1e-9)


def test_equal_scores_cost_tidecv_s_repairs_ap():
    evaluated = random_set(0, ties=True)
    scores = evaluated.found.scores
    ours, theirs = diagnosed(evaluated), run_tidecv(evaluated)
    assert ours.ap == pytest.approx(theirs.ap, abs=1e-9)  # before a repair the order is the same
    gains = theirs.fix_main_errors()
    fixed = run_tidecv(evaluated, distinct(scores)).fix_main_errors()
    lower = [fixed[error] - gains[error] for error in ERRORS.values()]
    assert min(lower) > 0 and max(lower) > 0.5  # points


def test_classes_without_objects_are_in_no_mean():
    evaluated = random_set(1)
    kept = evaluated.truth.classes < 3
    part = Objects(
        *(
            getattr(evaluated.truth, name)[kept]
            for name in ("image", "classes", "boxes", "areas", "scores", "crowd")
        )
    )
    evaluated = replace(evaluated, truth=part, classes=[*evaluated.classes, "never seen"])
    told, run = diagnosed(evaluated), run_tidecv(evaluated)
    assert np.isnan(told.class_ap).tolist() == [False] * 3 + [True] * 3
    assert told.ap == pytest.approx(run.ap * 5 / 3)  # which has the classes detected as AP 0
    fixed = run.fix_errors(lambda e: isinstance(e, main_errors.ClassError))
    aps = [fixed.objs[number].get_ap() for number in range(3)]
    assert told.gains["Cls"] == pytest.approx(np.mean(aps) - told.ap, abs=1e-9)
    assert all_counts(told) == {e.short_name: n for e, n in run.count_errors().items()}


def one_image(
    truth: list[tuple], found: list[tuple], *, crowd: list[bool] | None = None, most: int = 100
) -> Evaluated:
    """An image with (class, x0, x1) of objects, and with (class, x0, x1) of detections in order."""

    def objects(rows: list[tuple], scores: np.ndarray, crowd: list[bool]) -> Objects:
        values = np.array(rows, float).reshape(-1, 3)
        boxes = np.stack([values[:, 1], 0 * values[:, 1], values[:, 2], 0 * values[:, 1] + 10], 1)
        areas, image = 10 * (values[:, 2] - values[:, 1]), np.zeros(len(rows), np.int64)
        classes = values[:, 0].astype(np.int64)
        return Objects(image, classes, boxes, areas, scores, np.array(crowd, bool))

    return Evaluated(
        dataset="by hand",
        task="bbox",
        classes=["cat", "dog"],
        images=[EvaluatedImage(1, "1.jpg", 100, 10)],
        truth=objects(truth, np.ones(len(truth)), crowd or [False] * len(truth)),
        found=objects(found, 1 - np.arange(len(found)) / 10, [False] * len(found)),
        max_detections=most,
    )


CAT, DOG = 0, 1
OBJECTS = [(CAT, 0, 10), (CAT, 20, 30), (DOG, 40, 50), (DOG, 60, 70), (CAT, 80, 90)]


def test_each_kind_by_hand():
    found = [
        (CAT, 0, 10),  # right
        (CAT, 0, 9),  # found again
        (CAT, 23, 33),  # IoU 7/13 with the second: right
        (CAT, 40, 50),  # a dog
        (DOG, 65, 75),  # IoU 5/15
        (CAT, 66, 76),  # IoU 4/16 with a dog
        (DOG, 95, 99),  # nothing there
        (DOG, 80, 81),  # IoU 1/10 with a cat: counts as nothing there
    ]
    told = diagnosed(one_image(OBJECTS, found))
    kinds = [None, "Dupe", None, "Cls", "Loc", "Both", "Bkg", "Bkg"]
    assert [None if kind < 0 else KINDS[kind] for kind in told.kinds] == kinds
    assert told.about.tolist() == [-1, 0, -1, 2, 3, -1, -1, -1]
    assert told.missed.tolist() == [False] * 4 + [True]
    assert told.counts == {"Cls": 1, "Loc": 1, "Both": 1, "Dupe": 1, "Bkg": 2, "Miss": 1}
    assert {kind: count.tolist() for kind, count in told.class_counts.items()} == {
        **{"Cls": [1, 0], "Loc": [0, 1], "Both": [1, 0], "Dupe": [1, 0], "Bkg": [0, 2]},
        "Miss": [1, 0],
    }
    # Cats: precision 1 to recall 1/3 (34 of 101 recalls), 2/3 to recall 2/3 (33). Dogs: nothing.
    assert told.class_ap == pytest.approx([(34 + 33 * 2 / 3) / 1.01, 0])
    # The dog called a cat is right; dogs are then one of one at recall 1/2 (51 of 101 recalls).
    assert told.class_gains["Cls"] == pytest.approx([0, 51 / 1.01])
    assert told.class_gains["Loc"] == pytest.approx([0, 51 / 1.01])
    # Without the one found again both cats are found at precision 1.
    assert told.class_gains["Dupe"] == pytest.approx([33 / 3 / 1.01, 0])
    # Two cats to find, not three: precision 1 to recall 1/2, 2/3 to the end.
    assert told.class_gains["Miss"] == pytest.approx(
        [(51 + 50 * 2 / 3 - 34 - 33 * 2 / 3) / 1.01, 0]
    )
    assert told.gains["Miss"] == pytest.approx(told.class_gains["Miss"][0] / 2)


def test_an_object_is_put_right_by_one_error():
    """The best of either kind; the kind of the other one repairs nothing."""
    told = diagnosed(one_image(OBJECTS[2:3], [(CAT, 40, 50), (DOG, 45, 55)]))
    assert told.counts == {"Cls": 1, "Loc": 1, "Both": 0, "Dupe": 0, "Bkg": 0, "Miss": 0}
    assert told.gains["Cls"] == pytest.approx(100) and told.gains["Loc"] == 0


def test_detections_in_a_crowd_are_no_errors():
    rows = [(CAT, 0, 10), (CAT, 40, 60)]
    found = [(CAT, 0, 10), (CAT, 41, 44), (CAT, 58, 62), (DOG, 41, 44)]  # the third: half in it
    told = diagnosed(one_image(rows, found, crowd=[False, True]))
    assert told.counts == {"Cls": 0, "Loc": 0, "Both": 0, "Dupe": 0, "Bkg": 1, "Miss": 0}
    assert told.ap == pytest.approx(100) and told.gains["Bkg"] == 0


def test_those_beyond_the_best_so_many_of_a_class_do_not_count():
    found = [(CAT, 33, 36), (CAT, 0, 10), (DOG, 40, 50), (CAT, 20, 30)]
    told = diagnosed(one_image(OBJECTS[:3], found, most=2))
    assert told.kinds.tolist() == [KINDS.index("Bkg"), -1, -1, -1]
    assert told.missed.tolist() == [False, True, False]
    assert told.class_ap == pytest.approx([51 / 2 / 1.01, 100])


def test_without_objects_or_detections():
    nothing = diagnosed(one_image(OBJECTS, []))
    assert nothing.ap == 0 and nothing.counts["Miss"] == 5
    assert nothing.gains == {**dict.fromkeys([*KINDS, "FalsePos"], 0), "Miss": 100, "FalseNeg": 100}
    unlabelled = diagnosed(one_image([], [(CAT, 0, 10)]))
    assert np.isnan(unlabelled.ap) and all(np.isnan(list(unlabelled.gains.values())))
    assert unlabelled.counts["Bkg"] == 1
    empty = diagnosed(one_image([], []))
    assert np.isnan(empty.ap) and sum(empty.counts.values()) == 0
