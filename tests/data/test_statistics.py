"""Sizes and numbers of a COCO json, against values that are counted by hand."""

import json

import numpy as np
import pytest
from helpers.coco_content import content_of

from hrnet_det.data.statistics import Statistics, percentiles


@pytest.fixture
def statistics():
    """A 100x200 image with two objects, a 400x300 one with one, and one without any."""
    content = content_of(
        ((100, 200), [(10, 20, 4, 9), (0, 0, 50, 50)]),
        ((400, 300), [(5.5, 5, 30, 120)]),
        ((50, 60), []),
    )
    crowd = content["annotations"][0] | {"id": 90, "iscrowd": 1}
    unknown = content["annotations"][0] | {"id": 91, "image_id": 77}
    content["annotations"] += [crowd, unknown]
    content["categories"] = [{"id": 9, "name": "late"}, {"id": 1, "name": "early"}]
    content["annotations"][2]["category_id"] = 9
    return Statistics.of(content)


def test_what_is_counted(statistics):
    assert statistics.sides.tolist() == [[100, 200], [400, 300], [50, 60]]
    assert statistics.boxes.tolist() == [[10, 20, 14, 29], [0, 0, 50, 50], [5.5, 5, 35.5, 125]]
    assert statistics.image_of.tolist() == [0, 0, 1]
    assert statistics.classes == ("early", "late")
    assert statistics.class_of.tolist() == [0, 0, 1]
    assert statistics.objects_per_image.tolist() == [2, 1, 0]
    assert statistics.objects_per_class.tolist() == [2, 1]
    assert statistics.most_objects == 2 and statistics.images_with_objects == 2


def test_sizes_after_resizing(statistics):
    # 100x200: 200/100 and 300/200 -> 1.5; 400x300: 200/300 and 300/400 -> 2/3; 50x60: 4 and 5
    assert statistics.factors(200, 300) == pytest.approx([1.5, 2 / 3, 4])
    assert statistics.object_sides() == pytest.approx([6, 50, 60])
    assert statistics.object_sides(200, 300) == pytest.approx([9, 75, 40])
    assert statistics.factors(0, 300).tolist() == [1, 1, 1]  # MIN_SIZE_TEST 0 resizes nothing


def test_the_summary_is_plain_json(statistics):
    summary = statistics.summary()
    assert json.loads(json.dumps(summary)) == summary
    assert (summary["images"], summary["objects"], summary["most_objects"]) == (3, 3, 2)
    assert summary["shorter_side"][1] == 100 and summary["longer_side"][1] == 200
    assert summary["object_side"] == [10.4, 50.0, 59.0]  # of 6, 50, 60 at 5, 50 and 95 %


def test_a_dataset_without_objects():
    statistics = Statistics.of(content_of(((10, 20), [])))
    assert statistics.most_objects == 0 and statistics.object_sides(8, 9).tolist() == []
    assert statistics.objects_per_image.tolist() == [0]
    assert statistics.summary()["object_side"] == []
    assert percentiles(np.array([]), (5,)) == []
