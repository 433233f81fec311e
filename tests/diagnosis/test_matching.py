"""Pairs and matches: those of pycocotools, and by hand."""

import numpy as np
import pytest
from helpers.coco_results import HEIGHT, IDS, WIDTH, random_data
from helpers.diagnosis import coco_evaluation, evaluated_of

from hrnet_det.diagnosis.arrays import Predictions
from hrnet_det.diagnosis.matching import match
from hrnet_det.diagnosis.pairs import overlaps


def their_matches(made, threshold):
    """{(image, category): (detections' rows in results, matched annotations, ignored)}."""
    row = int(np.flatnonzero(np.isclose(made.params.iouThrs, threshold))[0])
    found = {}
    for values in made.evalImgs:
        if values is not None and values["aRng"] == made.params.areaRng[0]:
            parts = values["dtIds"], values["dtMatches"][row], values["dtIgnore"][row]
            for number, annotation, ignored in zip(*parts, strict=True):
                found[number] = int(annotation), bool(ignored)
    return found


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(3))
def test_matches_are_those_of_pycocotools(task, seed):
    truth, results = random_data(seed)
    limit = 20  # one image has 130 detections
    made = coco_evaluation(truth, results, task, limit=limit)
    evaluated = Predictions(truth, results, max_detections=limit).evaluated(task)
    assert evaluated.classes == tuple(f"class {i}" for i in sorted(IDS))
    assert {(image.width, image.height) for image in evaluated.images} == {(WIDTH, HEIGHT)}
    places = {image.id: place for place, image in enumerate(evaluated.images)}
    # The places of objects: annotations are in the order of images; detections of an image by score
    order = sorted(range(len(results)), key=lambda n: places[results[n]["image_id"]])
    order.sort(key=lambda n: (places[results[n]["image_id"]], -results[n]["score"]))
    annotations = sorted(truth["annotations"], key=lambda row: places[row["image_id"]])
    assert evaluated.found.scores.tolist() == [results[n]["score"] for n in order]
    pairs = overlaps(evaluated)
    for threshold in (0.5, 0.75):
        matches = match(evaluated, pairs, threshold)
        theirs = their_matches(made, threshold)
        for place, number in enumerate(order):
            given = matches.truth[place]
            annotation = 0 if given < 0 else annotations[given]["id"]
            # pycocotools leaves out those beyond the limit
            expected = theirs.get(number + 1, (0, True))
            assert (annotation, matches.ignored[place]) == expected
        assert len(theirs) < len(results)
        assert matches.right.sum() > 10 and matches.wrong.sum() > 100


def test_an_iou_of_one_half_is_as_pycocotools_computes_it_from_the_json():
    """0.4 + 1.8 - 0.4 is above 1.8, so corners alone would not give the IoU."""
    evaluated = evaluated_of(
        truth=[(0, 0, [0.4, 0, 1.8, 10])], found=[(0, 0, [0.4, 0, 0.9, 10], 1)]
    )
    assert evaluated.truth.boxes[0, 2] - 0.4 > 1.8
    pairs = overlaps(evaluated)
    assert pairs.iou.tolist() == [0.5]
    assert match(evaluated, pairs).truth.tolist() == [0]


def test_pairs_by_hand():
    """Two images; the second has no objects, the third no detections."""
    evaluated = evaluated_of(
        truth=[
            (0, 0, [0, 0, 10, 10]),
            (0, 1, [5, 0, 10, 10]),
            (0, 0, [0, 0, 100, 10], "crowd"),
            (2, 0, [0, 0, 10, 10]),
        ],
        found=[
            (0, 0, [0, 0, 10, 10], 0.5),
            (1, 0, [0, 0, 10, 10], 0.9),
            (0, 1, [20, 0, 10, 20], 0.7),
        ],
        images=3,
    )
    assert evaluated.found.scores.tolist() == [0.7, 0.5, 0.9]
    pairs = overlaps(evaluated)
    given = zip(pairs.found.tolist(), pairs.truth.tolist(), pairs.iou.tolist(), strict=True)
    # The crowd: the part of the detection inside it.
    assert list(given) == [(0, 2, 0.5), (1, 0, 1), (1, 1, pytest.approx(1 / 3)), (1, 2, 1)]


def test_matches_by_hand():
    """The best detection takes the object, the next one none, the last the crowd."""
    box, other = [0, 0, 10, 10], [100, 0, 10, 10]
    evaluated = evaluated_of(
        truth=[(0, 0, box), (0, 0, [100, 0, 50, 50], "crowd"), (0, 1, box)],
        found=[
            (0, 0, [0, 0, 10, 9], 0.9),
            (0, 0, box, 0.8),
            (0, 0, other, 0.7),
            (0, 1, [0, 0, 10, 4], 0.6),
        ],
    )
    matches = match(evaluated, overlaps(evaluated))
    assert matches.truth.tolist() == [0, -1, 1, -1]
    assert matches.found.tolist() == [0, -1, -1]
    assert matches.iou.tolist() == [0.9, 0, 1, 0]
    assert matches.ignored.tolist() == [False, False, True, False]
    assert matches.right.tolist() == [True, False, False, False]
    assert matches.wrong.tolist() == [False, True, False, True]
    assert match(evaluated, overlaps(evaluated), 0.4).truth.tolist() == [0, -1, 1, 2]


def test_nothing_at_all():
    evaluated = evaluated_of(truth=[], found=[], images=2)
    pairs = overlaps(evaluated)
    assert len(pairs.iou) == len(match(evaluated, pairs).truth) == 0
