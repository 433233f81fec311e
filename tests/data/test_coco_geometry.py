"""Where objects lie: each kind of wrong boxes is named as what it is."""

import pytest
from helpers.coco_content import content_of

from hrnet_det.data.coco_geometry import misplaced, outlying_points, repeated

SIZE = (100, 200)  # height, width
BOXES = [(10, 20, 30, 40), (150, 5, 40, 50), (60, 50, 20, 30), (0, 0, 200, 100)]


def found(boxes, change=lambda row: None, size=SIZE):
    content = content_of((size, boxes))
    for row in content["annotations"]:
        change(row)
    return list(misplaced(content))


def with_box(make):
    def change(row):
        row["bbox"] = make(*row["bbox"])

    return change


def test_right_boxes_have_no_findings():
    assert found(BOXES) == []
    assert found([(-1, -1, 202, 102), (0.4, 0.2, 0.5, 0.3)]) == []  # a pixel is rounding


def test_corners_are_named():
    """(150, 5, 190, 55) would end at 340 in an image of 200; all fit as corners."""
    (one,) = found(BOXES, with_box(lambda x, y, w, h: [x, y, x + w, y + h]))
    assert (one.kind, one.severity, one.annotations) == ("boxes-xyxy", "error", (2, 3))
    assert one.text.startswith("2 of 4 annotations reach beyond their image, and 4 fit as corners")


def test_shares_of_the_image_are_named():
    (one,) = found(BOXES, with_box(lambda x, y, w, h: [x / 200, y / 100, w / 200, h / 100]))
    assert (one.kind, one.severity, len(one.annotations)) == ("boxes-normalised", "error", 4)


def test_boxes_outside_are_errors_and_those_partly_outside_are_told():
    (one,) = found([*BOXES, (205, 5, 10, 10), (5, -30, 10, 10)])
    assert (one.kind, one.severity, one.annotations) == ("boxes-outside", "error", (5, 6))
    (one,) = found([*BOXES, (190, 5, 12, 10)])
    assert (one.kind, one.severity, one.annotations) == ("boxes-partly-outside", "warning", (5,))


@pytest.mark.parametrize(("wrong", "severity"), [(1, "warning"), (4, "error")])
def test_masks_far_from_their_box(wrong, severity):
    def shrink(row):
        if row["id"] <= wrong:
            row["segmentation"] = [[value / 4 for value in row["segmentation"][0]]]

    (one,) = found(BOXES, shrink)
    assert (one.kind, one.severity) == ("mask-far-from-box", severity)
    assert one.annotations == tuple(range(1, wrong + 1))


def test_visible_keypoints_outside_their_image_are_counted():
    """In an image of 200 x 100 pixels."""
    content = content_of((SIZE, BOXES))
    points = (
        [-1, -1, 2, 201, 101, 1, 50, 50, 2],  # rounding
        [-1.5, 5, 2, 5, 101.5, 1, 202, 50, 0],  # two, and one that is not visible
        [300, 50, 1, -900, -900, 0, 5, 5, 2],  # one
        None,
    )
    for row, listed in zip(content["annotations"], points, strict=True):
        row["keypoints"] = listed
    (one,) = outlying_points(content)
    assert (one.severity, one.annotations) == ("warning", (2, 3))
    assert one.text == (
        "2 of 4 annotations have 3 visible 'keypoints' more than a pixel outside their image, "
        "which are not learned from, but count where it is tested on: give their pixels, or "
        "visibility 0: id 2, id 3"
    )
    assert list(outlying_points(content_of((SIZE, BOXES)))) == []


def test_objects_and_files_given_twice_are_told():
    content = content_of((SIZE, [*BOXES, BOXES[0]]), (SIZE, BOXES[:1]), (SIZE, []))
    content["images"][2]["file_name"] = "./1.png"
    objects, files = repeated(content)
    assert (objects.kind, objects.annotations) == ("objects-repeated", (5,))
    assert (files.kind, files.images) == ("image-ids-of-one-file", (1, 3))
    assert {objects.severity, files.severity} == {"warning"}
