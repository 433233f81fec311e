"""The measuring of the implementations of COCO's evaluation: its data, its table, its errors."""

import numpy as np
import pytest

from hrnet_det.evaluation.implementations import find_implementation, installed_implementations
from tools import coco_speed


def test_random_data_has_the_numbers_that_were_asked_for():
    truth, results = coco_speed.random_coco(200, 20, 5, masks=False)
    assert (len(truth["images"]), len(truth["categories"])) == (200, 5)
    assert len(truth["annotations"]) / 200 == pytest.approx(7.3, abs=0.6)  # three deviations
    assert len(results) / 200 == pytest.approx(10, abs=1.3)
    per_image = np.bincount([row["image_id"] for row in results], minlength=201)[1:]
    assert (per_image.min(), per_image.max()) == (0, 20)
    assert {row["category_id"] for row in results} == {1, 2, 3, 4, 5}
    assert (truth, results) == coco_speed.random_coco(200, 20, 5, masks=False)


@pytest.mark.parametrize("iou_type", ["bbox", "segm"])
def test_the_command_compares_what_is_installed(iou_type, capsys):
    words = ["--images", "6", "--detections", "9", "--classes", "2", "--rounds", "2"]
    coco_speed.main([*words, "--iou-type", iou_type])
    first, _, header, _, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{iou_type}: 6 images, ")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]
    assert cells[0] == ["implementation", "seconds (median)", "each", "times as fast", "difference"]
    assert [row[0] for row in cells[1:]] == [found.name for found in installed_implementations()]
    assert all(len(row[2].split(", ")) == 2 and float(row[4]) < 1e-6 for row in cells[1:])
    assert cells[-1][3:] == ["1.0", "0e+00"]


def test_the_difference_is_the_largest_of_any_number():
    truth, results = coco_speed.random_coco(20, 10, 2, masks=False)
    reference = find_implementation("pycocotools")
    one, other = (coco_speed.evaluate(reference, truth, results, "bbox")[0] for _ in range(2))
    assert coco_speed.largest_difference(one, other) == 0
    other.eval["recall"][0, 1, 0, 2] += 0.25
    assert coco_speed.largest_difference(one, other) == pytest.approx(0.25)
    other.stats[11] -= 0.5
    assert coco_speed.largest_difference(one, other) == pytest.approx(0.5)


def test_the_command_wants_numbers_from_1(capsys):
    with pytest.raises(SystemExit):
        coco_speed.main(["--images", "0"])
    assert "error: --images 0: give at least 1\n" in capsys.readouterr().err
