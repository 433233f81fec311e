"""Ground truth and outputs of models as what is drawn."""

import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from hrnet_det.report.sheet import ground_truth, prediction, with_colours_of

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


def test_a_found_object_has_the_colour_of_the_true_one_that_it_covers():
    true = Instances((32, 32), gt_boxes=Boxes(torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])))
    boxes = torch.tensor([[20.0, 20, 30, 31], [0, 0, 10, 4], [1, 0, 10, 10]])
    found = Instances((32, 32), pred_boxes=Boxes(boxes))
    objects, labels = with_colours_of((true, None), (found, "labels"))
    assert objects.colours.tolist() == [1, 3, 0]  # the second covers 40 % of a true one
    assert labels == "labels"
    assert not found.has("colours")  # the argument stays as it is
    for left, right in ((true[[]], found), (true, found[[]]), (None, found), (true, None)):
        assert with_colours_of((left, None), (right, None)) == (right, None)
