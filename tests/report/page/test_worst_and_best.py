"""The worst and the best images of a run's page."""

import base64
import io

import numpy as np
import pytest
from helpers.diagnosis import SIDE, evaluated_of
from PIL import Image

from hrnet_det.diagnosis.diagnosis import diagnose
from hrnet_det.errors import MissingInputError
from hrnet_det.report.page.image_pair import CONFUSED, MISSED, RIGHT, WRONG, draw_pair
from hrnet_det.report.page.worst_and_best import caption_of, worst_and_best

BUDGET = 3_000_000  # bytes
LEFT, RIGHT_BOX, LOW = [20, 40, 40, 40], [120, 40, 40, 40], [60, 120, 40, 40]  # x, y, w, h


def grey(path, image_format):
    assert image_format == "RGB"
    return np.full((SIDE, SIDE, 3), 100, np.uint8)


def diagnosis(task="bbox"):
    """Five images: all right; a miss; a dog for a cat; found where nothing is; nothing at all."""
    truth = [(0, 0, LEFT), (0, 1, RIGHT_BOX), (1, 0, LEFT), (1, 0, RIGHT_BOX)]
    found = [(0, 0, LEFT, 0.9), (0, 1, RIGHT_BOX, 0.9), (1, 0, LEFT, 0.9)]
    truth += [(2, 0, LEFT), (2, 1, RIGHT_BOX), (3, 1, LEFT)]
    found += [(2, 1, LEFT, 0.9), (2, 1, RIGHT_BOX, 0.9), (3, 1, LEFT, 0.9), (3, 1, LOW, 0.9)]
    return diagnose(evaluated_of(truth=truth, found=found, images=5, task=task))


def pixels(address):
    head, content = address.split(",")
    assert head == "data:image/jpeg;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))).astype(int)


def test_the_worst_images_are_of_all_kinds_and_the_best_of_all_classes():
    shown = worst_and_best(diagnosis(), grey, budget=BUDGET, count=4)
    assert [(s.name, s.caption, s.classes) for s in shown.worst] == [
        ("2.png", "1 right, 1 cat taken for dog", ("cat", "dog")),
        ("1.png", "1 right, 1 missed", ("cat",)),
        ("3.png", "1 right, 1 where nothing is annotated", ("dog",)),
    ]
    assert [(s.name, s.caption) for s in shown.best] == [("0.png", "2 right")]
    assert shown.remarks == []
    assert worst_and_best(diagnosis(), grey, budget=BUDGET, count=4) == shown  # always the same


def test_each_side_is_marked_by_what_has_become_of_its_objects():
    """200 pixels are drawn as 400; the upper lines of the boxes are at 80."""
    (image, *_) = worst_and_best(diagnosis(), grey, budget=BUDGET, count=1).worst
    assert image.size == (400, 400)
    truth, found = pixels(image.truth), pixels(image.found)
    line = slice(80, 82)
    for side, mark, columns in (
        (truth, CONFUSED, slice(45, 115)),
        (truth, RIGHT, slice(245, 315)),
        (found, CONFUSED, slice(45, 115)),
        (found, RIGHT, slice(245, 315)),
    ):
        near = abs(side[line, columns] - mark.colour).max(axis=2) < 40
        assert near.mean() > (0.9 if mark.gaps is None else 0.3)
    assert abs(truth[120, 80] - 100).max() < 6  # within a box
    truth, found, _ = draw_pair(diagnosis(), 1, grey("", "RGB"))
    assert (truth[80, 240:320] == MISSED.colour).all(axis=1).any()
    assert (found == 100)[80:160, 240:320].all()
    _, found, _ = draw_pair(diagnosis(), 3, grey("", "RGB"))
    assert (found[240, 120:200] == WRONG.colour).all(axis=1).any()


def test_masks_have_a_light_fill_and_an_outline():
    truth, _, _ = draw_pair(diagnosis("segm"), 0, grey("", "RGB"))
    assert truth[120, 80] == pytest.approx(0.8 * 100 + 0.2 * np.array(RIGHT.colour), abs=1.5)
    assert truth[159, 80].tolist() == list(RIGHT.colour)


def test_captions_name_every_kind_of_error():
    """Two cats and three dogs; of what is found four are wrong in four ways."""
    truth = [(0, 0, [10, 10, 20, 20]), (0, 0, [50, 10, 20, 20])]
    truth += [(0, 1, [x, 80, 20, 20]) for x in (10, 50, 90)]
    found = [(0, 0, [10, 10, 20, 20], 0.9), (0, 0, [10, 10, 20, 19], 0.9)]
    found += [(0, 1, [50, 10, 20, 20], 0.9), (0, 1, [10, 80, 20, 20], 0.9)]
    found += [(0, 1, [60, 85, 20, 20], 0.9), (0, 0, [150, 150, 20, 20], 0.9)]
    result = diagnose(evaluated_of(truth=truth, found=found))
    assert caption_of(result, 0) == (
        "2 right, 2 missed, 1 cat taken for dog, 1 found twice, 1 at the wrong place, "
        "1 where nothing is annotated"
    )


def test_images_that_cannot_be_read_are_left_out_and_told():
    def read(path, image_format):
        if path.endswith("2.png"):
            raise MissingInputError(f"image {path} is not there")
        size = (SIDE, SIDE) if not path.endswith("1.png") else (SIDE, 7)
        return np.full((*size, 3), 100, np.uint8)

    shown = worst_and_best(diagnosis(), read, budget=BUDGET, count=4)
    assert [s.name for s in shown.worst] == ["3.png"]
    assert shown.remarks == [
        "Images are left out: image 2.png is not there; 1 more cannot be used either."
    ]


def test_images_stay_within_the_budget():
    rng = np.random.default_rng(0)

    def noise(*_):
        return rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)

    sums = []
    for budget in (3_000_000, 800_000, 200_000):
        shown = worst_and_best(diagnosis(), noise, budget=budget)
        addresses = [a for s in [*shown.worst, *shown.best] for a in (s.truth, s.found)]
        assert len(addresses) == 8
        sums.append(sum(map(len, addresses)))
        assert sums[-1] <= budget
        assert {s.size for s in shown.worst} == {(400, 400)}
    assert sums == sorted(sums, reverse=True)
    shown = worst_and_best(diagnosis(), noise, budget=1000)
    assert shown.worst == shown.best == []
    assert "bytes of the page" in shown.remarks[0]


def test_of_a_large_image_with_small_objects_the_part_with_most_errors_is_shown():
    """4000 pixels; nine missed objects of 20 around (3000, 1000), one at the other end."""
    truth = [(0, 0, [2900 + 100 * (n % 3), 900 + 100 * (n // 3), 20, 20]) for n in range(9)]
    truth += [(0, 0, [10, 3900, 20, 20])]
    result = diagnose(evaluated_of(truth=truth, found=[(0, 1, [0, 0, 20, 20], 0.9)]))
    image = np.full((4000, 4000, 3), 100, np.uint8)
    image[:, 3400:] = 0
    drawn, found, is_part = draw_pair(result, 0, image)
    assert is_part
    assert drawn.shape == found.shape
    assert 400 <= max(drawn.shape) <= 480
    assert (drawn == 100).all(axis=2).mean() > 0.8  # nothing from x = 3400 on
    yellow = (abs(drawn.astype(int) - MISSED.colour).max(axis=2) < 30).sum()
    assert yellow > 9 * 4 * 12 / 3  # about half of the lines of nine boxes


def test_a_test_set_with_nothing_in_it_has_no_images():
    shown = worst_and_best(
        diagnose(evaluated_of(truth=[], found=[], images=2)), grey, budget=BUDGET
    )
    assert (shown.worst, shown.best, shown.remarks) == ([], [], [])


def test_where_there_is_one_class_scores_are_written_and_no_names():
    """The label of the detection, 80 wide, stands above its box, from 40 to 120; none beside it."""
    one = {"truth": [(0, 0, LEFT)], "found": [(0, 0, LEFT, 0.9)]}
    drawn = {
        names: draw_pair(diagnose(evaluated_of(**one, classes=names)), 0, grey("", "RGB"))
        for names in (("cat",), ("dog",), ("cat", "dog"))
    }
    assert (drawn["cat",][1] == drawn["dog",][1]).all()
    assert (drawn["cat",][0][:79] == 100).all()  # nothing is written on the true object
    assert (drawn["cat", "dog"][0][:79] != 100).any()
    label = (drawn["cat",][1][:79] == RIGHT.colour).all(axis=2)
    assert label.any() and label.nonzero()[1].max() < 80
