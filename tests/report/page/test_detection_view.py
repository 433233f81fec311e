"""What a run's page tells of detections, of a few that can be counted by hand."""

import numpy as np
import pytest

from hrnet_det.config.load import load_run
from hrnet_det.diagnosis.diagnosis import diagnose
from hrnet_det.diagnosis.objects import Evaluated, EvaluatedImage, Objects
from hrnet_det.report.page import detection_view
from hrnet_det.report.page.detection_story import detection_story
from hrnet_det.report.page.worst_and_best import ShownImages

CAT, DOG, BIRD, NEVER = range(4)
HOSTILE = "<script>$x$"
NAMES = ("cat", HOSTILE, "bird", "never")
NUMBERS = {name: str(place) for place, name in enumerate(NAMES)}


def objects(*rows):
    """Of one image: (class, x, score) of boxes of 10 x 10 pixels."""
    classes, lefts, scores = np.array(rows, float).reshape(-1, 3).T
    return Objects(
        image=np.zeros(len(classes), np.int64),
        classes=classes.astype(np.int64),
        boxes=np.stack([lefts, 0 * lefts, lefts + 10, 0 * lefts + 10], axis=1),
        areas=np.full(len(classes), 100.0),
        scores=scores,
        crowd=np.zeros(len(classes), bool),
    )


def diagnosis(truth, found, *, most=100):
    images = [EvaluatedImage(1, "1.png", 640, 480)]
    return diagnose(Evaluated("mine", "bbox", NAMES, images, truth, found, most))


@pytest.fixture(scope="module")
def known():
    """Two right; one each badly placed, of a wrong class, of nothing, found again, missed."""
    truth = objects((CAT, 0, 1), (CAT, 100, 1), (CAT, 200, 1), (DOG, 300, 1), (BIRD, 400, 1))
    found = objects((CAT, 0, 0.9), (CAT, 106, 0.8), (DOG, 200, 0.7), (DOG, 300, 0.6),
                    (CAT, 500, 0.5), (CAT, 0, 0.4))  # fmt: skip
    return diagnosis(truth, found)


def test_a_row_for_each_class(known):
    rows = detection_view.class_rows(
        known, {"AP": 30.0, "AP-cat": 25.04, "AP-never": None}, NUMBERS
    )
    shown = {row.name: (row.classes, row.cells) for row in rows}
    assert detection_view.CLASS_HEADERS[8:] == (
        *("missed", "badly placed", "wrong class", "nothing there", "both", "again"),
    )
    # objects, AP, AP50, advised score, precision, recall, F1, and errors
    assert shown["all classes"] == (
        "", ["5", "30.0", "27.9", "0.55", "0.50", "0.40", "0.44", "1", "1", "1", "1", "0", "1"],
    )  # fmt: skip
    assert shown["cat"] == (
        "0", ["3", "25.0", "33.7", "0.85", "1.00", "0.33", "0.50", "0", "1", "0", "1", "0", "1"],
    )  # fmt: skip
    assert shown[HOSTILE][1][:7] == ["1", "-", "50.0", "0.3", "0.50", "1.00", "0.67"]
    assert shown["bird"][1] == ["1", "-", "0.0", "-", "-", "-", "-", "1", "0", "0", "0", "0", "0"]
    assert shown["never"][1][:3] == ["0", "-", "-"]


def test_the_confusion_matrix_and_its_pairs(known):
    matrix = detection_view.matrix_of(known, NUMBERS)
    assert matrix.whole and matrix.names == [*NAMES, "background"]
    counts = {name: [cell.count for cell in cells] for _, name, cells in matrix.rows}
    assert counts == {
        "cat": ["1", "1", "", "", "1"],  # one right, one taken for a dog, one missed at this score
        HOSTILE: ["", "1", "", "", ""],
        "bird": ["", "", "", "", "1"],
        "never": ["", "", "", "", ""],
        "background": ["", "", "", "", ""],
    }
    (pair,) = detection_view.pair_rows(known, NUMBERS)
    assert (pair.classes, pair.name, pair.cells) == ("0 1", "cat", [HOSTILE, "1", "33%"])


def test_of_many_classes_the_most_confused_stand_in_the_matrix(known, monkeypatch):
    monkeypatch.setattr(detection_view, "MATRIX", 2)
    matrix = detection_view.matrix_of(known, NUMBERS)
    assert not matrix.whole and matrix.names == ["cat", HOSTILE, "background"]
    assert [cell.count for cell in matrix.rows[0][2]] == ["1", "1", "1"]


def test_kinds_of_errors_are_those_of_tide(known):
    rows = detection_view.error_rows(known)
    assert {row.title: row.count for row in rows} == {
        "missed objects (Miss)": "1", "badly placed detections (Loc)": "1",
        "wrong classes (Cls)": "1", "detections of nothing (Bkg)": "1",
        "wrong classes, badly placed (Both)": "0", "objects found again (Dupe)": "1",
        "all wrong detections": "", "all objects not found": "",
    }  # fmt: skip
    gains = [row.gain for row in rows[:-2]]
    assert gains == sorted(gains, reverse=True)
    assert rows[0].gain == pytest.approx(max(known.tide.gains[kind] for kind in ("Miss", "Cls")))


def test_sentences_on_detections(known):
    said = detection_story(known, None, "out put")
    texts = [statement.text for statement in said]
    # Put right: cats are right, wrong, right, which is an AP of (34 + 33 * 2/3) / 101; dogs' is 1.
    assert texts[0] == (
        "What costs most are wrong classes (Cls): without them AP50 would be 51.8 in place of "
        f"27.9. Most often it takes cat for {HOSTILE} (1)."
    )
    assert texts[1].startswith("Next come missed objects (Miss): without them AP50 would be 41.8")
    assert texts[1].endswith(" Missed are 20% of small ones (under 32 x 32 pixels).")
    assert "--tile 640" in said[1].advice
    assert any(
        text == "Not one object is found of bird: 1 of 4 classes, each with an AP50 of 0."
        for text in texts
    )
    assert "The test set has no never: 1 of 4 classes, of which nothing can be said." in texts
    score = next(s for s in said if s.text.startswith("The best score to use is 0.55"))
    assert score.text.endswith("40% of the objects are found, and 50% of the detections are right.")
    assert score.command == "hrnet-det predict 'out put' IMAGES --score 0.55"
    without = detection_story(known, None, "")
    assert [s.text for s in without] == texts and not any(s.command for s in without)


def test_crowds_are_not_among_the_small_objects_of_which_some_are_missed(known):
    """Of five small objects one is missed, whatever crowds there are."""
    truth = known.evaluated.truth
    crowd = objects(*((BIRD, 20 * place, 1) for place in range(5)))
    both = {
        name: np.concatenate([getattr(side, name) for side in (truth, crowd)])
        for name in ("image", "classes", "boxes", "areas", "scores")
    }
    with_crowds = Objects(**both, crowd=np.repeat([False, True], 5))
    told = diagnosis(with_crowds, known.evaluated.found)
    (text,) = (s.text for s in detection_story(told, None, "") if " Missed are " in s.text)
    assert text.endswith(" Missed are 20% of small ones (under 32 x 32 pixels).")


def test_limits_of_detections_are_named():
    truth = objects(*((CAT, 20 * place, 1) for place in range(7)))
    found = objects(*((CAT, 20 * place, 0.9) for place in range(3)))
    run = load_run("quickstart/faster_rcnn", ["TEST.DETECTIONS_PER_IMAGE", "5"])
    texts = [(s.text, s.advice) for s in detection_story(diagnosis(truth, found, most=6), run, "")]
    assert (
        "1 of 1 images have more objects (up to 7) than the 5 detections that the detector gives "
        "for an image.",
        "Raise TEST.DETECTIONS_PER_IMAGE (to 50), and evaluate again.",
    ) in texts
    assert any(
        text.startswith("AP counts the best 6 detections of a class in an image (maxDets), but "
                        "images have up to 7 objects of one") for text, _ in texts
    )  # fmt: skip
    run.cfg.TEST.DETECTIONS_PER_IMAGE = 3
    few = objects((CAT, 0, 1), (CAT, 20, 1), (CAT, 40, 1))
    cut = [s.text for s in detection_story(diagnosis(few, found), run, "")]
    assert (
        "In 1 of 1 images all of the 3 detections that the detector gives have scores that are "
        "high enough to be used: the limit may leave out more."
    ) in cut


def test_nothing_detected_and_nothing_to_detect():
    nothing = objects()
    (first, *_) = detection_story(diagnosis(objects((CAT, 0, 1)), nothing), None, "")
    assert first.text.startswith("Nothing was detected: no score is over")
    (only,) = detection_story(diagnosis(nothing, objects((CAT, 0, 0.5))), None, "")
    assert only.text.startswith("The test set has no objects")
    for truth, found in ((nothing, objects((CAT, 0, 0.5))), (objects((CAT, 0, 1)), nothing)):
        known = diagnosis(truth, found)
        view = detection_view.view_of(known, None, "", {}, NAMES, ShownImages())
        assert view.curves == [] and len(view.classes) == 5


def test_curves_of_classes_can_be_reached_by_their_numbers(known):
    view = detection_view.view_of(known, None, "", {}, NAMES, ShownImages())
    for plot, _ in view.curves:
        assert '<g data-class="0"><title>cat</title>' in plot
        assert '<g data-class="1"><title>&lt;script&gt;$x$</title>' in plot
        assert "<script" not in plot


def test_small_objects_and_weak_classes_are_named():
    rows = [(kind, 20 * place, 1) for kind in (CAT, DOG, BIRD) for place in range(3)]
    rows = [(kind, left + 200 * kind, 1) for kind, left, _ in rows]
    found = [(kind, left, 0.9) for kind, left, _ in rows]
    del found[4:6], found[-1]  # of the second class one of three is found, of the third two
    known = diagnosis(objects(*rows), objects(*found))
    said = detection_story(known, None, "", {"APs": 10.0, "APm": 40.0, "APl": None})
    texts = [statement.text for statement in said]
    assert (
        f"Of the classes that are found at all, these have the lowest AP50: {HOSTILE} (33.7, 3 "
        "objects), bird (66.3, 3 objects); cat has the highest (100.0)."
    ) in texts
    assert (
        "AP of small objects is 10.0, of larger ones up to 40.0: 9 of 9 objects are under 32 x 32 "
        "pixels."
    ) in texts
    advice = [statement.advice for statement in said if "larger images" in statement.advice]
    assert len(advice) == len(set(advice))  # of two sentences with the same, one has it
    usual = detection_story(known, None, "", {"APs": 30.0, "APm": 40.0, "APl": None})
    assert not any(statement.text.startswith("AP of small") for statement in usual)


def test_of_what_has_learnt_nothing_no_errors_are_explained():
    found = objects(*((CAT, 20 * place + 300, 0.9) for place in range(50)), (CAT, 0, 0.1))
    truth = objects(*((CAT, 20 * place, 1) for place in range(10)))
    first, *rest = detection_story(diagnosis(truth, found), None, "")
    assert first.text == (  # one of ten is found, after fifty that are wrong: 11 / 101 / 51
        "It has learnt very little yet: AP50 is 0.2, and the kinds of its errors mean nothing."
    )
    assert not any(said.text.startswith(("What costs", "The best score")) for said in rest)
