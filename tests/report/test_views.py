"""Ground truth and outputs of models as what is drawn."""

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Boxes, BoxMode, Instances
from PIL import Image

from hrnet_det.report.agreement import ALONE, agreement
from hrnet_det.report.image_views import ground_truth, prediction

BOX = {"bbox": [4, 4, 8, 8], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0}
POLYGON = {"segmentation": [[4.0, 4.0, 12.0, 4.0, 12.0, 12.0]]}


def truth(*annotations):
    return ground_truth({"annotations": list(annotations)}, (32, 32), Metadata())[0]


def test_ground_truth_of_which_only_some_has_masks_is_drawn_as_boxes():
    given = BOX | POLYGON
    objects = truth(given, BOX)
    assert objects.gt_boxes.tensor.tolist() == [[4.0, 4.0, 12.0, 12.0]] * 2
    assert not objects.has("gt_masks")
    assert 20 < truth(given).gt_masks.tensor.sum() < 64
    assert given == BOX | POLYGON  # as it was


def test_crowds_are_not_drawn_and_keypoints_are():
    arrow = BOX | {"keypoints": [5.0, 6, 2, 7, 8, 0]}
    objects = truth(arrow, BOX | {"iscrowd": 1})
    assert objects.gt_keypoints.tensor.tolist() == [[[5, 6, 2], [7, 8, 0]]]
    assert len(truth(BOX | {"iscrowd": 1})) == len(truth()) == 0


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.png"
    Image.fromarray(np.array([[0, 1, 2], [255, 7, 0]], np.uint8)).save(path)
    return {"sem_seg_file_name": str(path)}


def test_semantic_labels_without_the_ignored_ones(labels):
    metadata = Metadata(ignore_label=255, stuff_classes=["road", "sky"])
    objects, found = ground_truth(labels, (2, 3), metadata)
    assert objects is None
    assert found.tolist() == [[0, 1, 2], [-1, 7, 0]]


def test_labels_of_things_are_left_to_the_things(labels):
    metadata = Metadata(ignore_label=255, stuff_classes=["things", "sky"])
    objects, found = ground_truth(labels | {"annotations": [BOX]}, (2, 3), metadata)
    assert len(objects) == 1
    assert found.tolist() == [[-1, 1, 2], [-1, 7, -1]]


def test_objects_over_a_score_are_shown():
    found = Instances((32, 32), pred_boxes=Boxes(torch.zeros(3, 4)))
    found.scores = torch.tensor([0.9, 0.51, 0.5])
    (objects, found_labels), shown = prediction({"instances": found})
    assert (objects.scores.tolist(), found_labels) == (pytest.approx([0.9, 0.51]), None)
    assert shown == "score over 0.5"


def test_the_best_proposals_are_shown_as_boxes_without_a_class():
    boxes = torch.arange(12.0)[:, None].expand(12, 4)
    (objects, _), shown = prediction({"proposals": Instances((9, 9), proposal_boxes=Boxes(boxes))})
    assert objects.pred_boxes.tensor[:, 0].tolist() == list(range(10))
    assert list(objects.get_fields()) == ["pred_boxes"]
    assert shown == "the best 10 proposals"


def test_semantic_scores_become_labels():
    scores = torch.tensor([[[0.1, 0.9]], [[0.3, 0.2]]])  # 2 classes, 1 x 2 pixels
    (objects, labels), shown = prediction({"sem_seg": scores})
    assert (objects, labels.tolist(), shown) == (None, [[1, 0]], "semantic labels")


def test_things_and_stuff_of_a_panoptic_prediction():
    ids = torch.tensor([[1, 1, 2], [0, 3, 3]])
    segments = [
        {"id": 1, "isthing": True, "category_id": 4},
        {"id": 2, "isthing": False, "category_id": 7},
        {"id": 3, "isthing": False, "category_id": 1},
    ]
    # instances and sem_seg are parts of the same output
    output = {"panoptic_seg": (ids, segments), "instances": None, "sem_seg": None}
    (things, labels), shown = prediction(output)
    assert labels.tolist() == [[-1, -1, 7], [-1, 1, 1]]
    assert things.pred_classes.tolist() == [4]
    assert things.pred_masks.tolist() == [[[True, True, False], [False, False, False]]]
    assert things.pred_boxes.tensor.tolist() == [[0, 0, 2, 1]]
    assert shown == "panoptic segments"
    (things, labels), _ = prediction({"panoptic_seg": (ids, segments[1:2])})
    assert (len(things), labels.max()) == (0, 7)


def boxes_of(prefix, *boxes, **fields):
    tensor = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Instances((32, 32), **{f"{prefix}_boxes": Boxes(tensor)}, **fields)


TRUE = [0, 0, 10, 10], [20, 20, 30, 30], [0, 20, 10, 30]


def test_an_object_and_what_finds_it_have_one_colour_and_the_others_none():
    true = boxes_of("gt", *TRUE)
    found = boxes_of("pred", [20, 20, 30, 31], [0, 0, 10, 4], [1, 0, 10, 10], [0, 0, 10, 9])
    both = agreement((true, None), (found, "labels"))
    first, second = both.truth[0].colours.tolist()[:2]
    assert both.truth[0].colours.tolist() == [first, second, ALONE]
    # the second covers 40 % of an object, and the last one that is found already
    assert both.found[0].colours.tolist() == [second, ALONE, first, ALONE]
    assert first != second and min(first, second) >= 0
    assert both.found[1] == "labels"
    assert (both.right, both.missed, both.wrong) == (2, 1, 2)
    assert not found.has("colours") and not true.has("colours")  # the arguments stay as they are


def test_a_prediction_of_another_class_finds_nothing():
    true = boxes_of("gt", *TRUE[:2], gt_classes=torch.tensor([0, 1]))
    found = boxes_of("pred", *TRUE[:2], pred_classes=torch.tensor([0, 0]))
    both = agreement((true, None), (found, None))
    assert (both.right, both.missed, both.wrong) == (1, 1, 1)
    assert both.found[0].colours.tolist() == both.truth[0].colours.tolist() == [0, ALONE]


def test_masks_decide_where_both_have_them():
    """Equal boxes; of the masks the first pair covers the same, the second different halves."""
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, :10, :10] = masks[1, 20:30, 20:25] = True
    other = masks.clone()
    other[1] = masks[1].roll(5, dims=1)
    true = boxes_of("gt", *TRUE[:2], gt_masks=BitMasks(masks))
    both = agreement((true, None), (boxes_of("pred", *TRUE[:2], pred_masks=other), None))
    assert both.found[0].colours.tolist() == [0, ALONE]


def test_without_objects_on_a_side_there_is_nothing_to_agree_on():
    true, found = boxes_of("gt", *TRUE), boxes_of("pred", *TRUE)
    for left, right, counts in (
        (true, None, (0, 0, 0)),
        (None, found, (0, 0, 0)),
        (true, found[[]], (0, 3, 0)),
        (true[[]], found, (0, 0, 3)),
    ):
        both = agreement((left, None), (right, None))
        assert (both.right, both.missed, both.wrong) == counts
