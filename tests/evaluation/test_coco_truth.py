"""Jsons whose ids and flags implementations of COCO's evaluation read wrongly or differently."""

import copy
import random

import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances
from helpers.coco_results import IDS, random_data, registering, results_of

from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import CocoEvaluator
from hrnet_det.evaluation.coco_truth import Truth
from hrnet_det.evaluation.implementations import installed_implementations

IMPLEMENTATIONS = [found.name for found in installed_implementations()]
TASKS = ["bbox", "keypoints", "segm"]


@pytest.fixture(scope="module")
def register(tmp_path_factory):
    with registering(tmp_path_factory.mktemp("truth")) as register:
        yield register


@pytest.fixture(scope="module")
def plain(register):
    """A json with ids 1, 2, 3, ..., its results, and what pycocotools says of them."""
    truth, results = random_data(0)
    evaluator = CocoEvaluator(register(truth), implementation="pycocotools")
    return truth, results, results_of(evaluator, truth, results)


def assert_equal(given, expected):
    assert list(given) == list(expected) == TASKS
    for task, values in expected.items():
        assert 1 < values["AP"] < 99
        assert list(given[task]) == list(values)
        assert list(given[task].values()) == pytest.approx(
            list(values.values()), rel=0, abs=1e-10, nan_ok=True
        )


def quarter_negative(number):
    return -number if number % 4 == 0 else number


HOSTILE = {
    "negative": lambda n: -n,
    "a quarter negative": quarter_negative,
    "from 0": lambda n: n - 1,
    "64 bits": lambda n: random.Random(n).getrandbits(64),
    "over 64 bits": lambda n: 2**70 + n,
    "text": lambda n: f"object {n}",
    "one id for all": lambda n: 7,
    "none": lambda n: None,
}


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("ids", HOSTILE)
def test_ids_of_annotations_change_nothing(ids, name, register, plain):
    truth, results, expected = plain
    truth = copy.deepcopy(truth)
    for row in truth["annotations"]:
        row["id"] = HOSTILE[ids](row["id"])
    if ids == "one id for all":
        assert len({row["id"] for row in truth["annotations"]}) == 1
    evaluator = CocoEvaluator(register(truth), implementation=name)
    assert_equal(results_of(evaluator, truth, results), expected)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_the_truth_as_prediction_has_100_with_negative_ids(name, register):
    truth, _ = random_data(1)
    truth["annotations"] = [
        row | {"id": -row["id"], "num_keypoints": 17, "keypoints": [5.0, 5.0, 2] * 17}
        for row in truth["annotations"]
        if not row["iscrowd"] and min(row["bbox"][2:]) > 0
    ]
    results = [row | {"score": 0.9} for row in truth["annotations"]]
    evaluator = CocoEvaluator(register(truth), implementation=name)
    evaluator.reset()
    for image in truth["images"]:
        found = [row for row in results if row["image_id"] == image["id"]]
        instances = Instances((image["height"], image["width"]))
        boxes = torch.tensor([row["bbox"] for row in found], dtype=torch.float64).reshape(-1, 4)
        instances.pred_boxes = Boxes(boxes)
        boxes[:, 2:] += boxes[:, :2]
        instances.pred_boxes.tensor = boxes
        instances.scores = torch.tensor([row["score"] for row in found])
        labels = [sorted(IDS).index(row["category_id"]) for row in found]
        instances.pred_classes = torch.tensor(labels)
        evaluator.process([{"image_id": image["id"]}], [{"instances": instances}])
    given = evaluator.evaluate()["bbox"]
    assert given["AP"] == given["AP50"] == given["AP-class 9"] == pytest.approx(100)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    "renamed",
    [
        lambda i: -1000 + i,
        lambda i: 2**66 + i,
        lambda i: f"image {i:03}",
        lambda i: i if i < 40 else f"image {i:03}",
    ],
)
def test_ids_of_images_change_nothing(renamed, name, register, plain):
    truth, results, expected = plain
    rename = {"images": "id", "annotations": "image_id"}
    truth = truth | {
        part: [row | {key: renamed(row[key])} for row in truth[part]]
        for part, key in rename.items()
    }
    results = [row | {"image_id": renamed(row["image_id"])} for row in results]
    evaluator = CocoEvaluator(register(truth), implementation=name)
    assert_equal(results_of(evaluator, truth, results), expected)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_some_images_may_be_evaluated_alone(name, register, plain):
    """They have the AP of a json that has only these images."""
    truth, results, expected = plain
    ids = [row["id"] for row in truth["images"]][3:9]
    alone = truth | {
        part: [row for row in truth[part] if row[key] in ids]
        for part, key in (("images", "id"), ("annotations", "image_id"))
    }
    reference = CocoEvaluator(register(alone), implementation="pycocotools")
    few = results_of(reference, alone, [row for row in results if row["image_id"] in ids])
    evaluator = CocoEvaluator(register(truth), implementation=name)
    assert_equal(results_of(evaluator, truth, results, img_ids=ids), few)
    assert few["bbox"]["AP"] != expected["bbox"]["AP"]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_ids_of_categories_may_be_negative_0_and_large(name, register, plain):
    truth, results, expected = plain
    ids = dict(zip(sorted(IDS), (-5, -1, 0, 2**64), strict=True))
    truth = truth | {
        "categories": [row | {"id": ids[row["id"]]} for row in truth["categories"]],
        "annotations": [
            row | {"category_id": ids[row["category_id"]]} for row in truth["annotations"]
        ],
    }
    evaluator = CocoEvaluator(register(truth), implementation=name)
    given = results_of(evaluator, truth, results)
    names = [f"AP-class {i}" for i in sorted(IDS)]
    renamed = {f"AP-class {new}": f"AP-class {old}" for old, new in ids.items()}
    given = {
        task: {renamed.get(key, key): value for key, value in values.items()}
        for task, values in given.items()
    }
    assert set(names) < set(expected["bbox"])
    assert_equal(given, expected)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("flags", [("0", "1"), (None, 1), (False, True), (0.0, 1.0)])
def test_crowds_are_crowds_however_the_json_says_it(flags, name, register, plain):
    truth, results, expected = plain
    rows = [row | {"iscrowd": flags[row["iscrowd"]]} for row in truth["annotations"]]
    truth = truth | {"annotations": rows}
    evaluator = CocoEvaluator(register(truth), implementation=name)
    assert_equal(results_of(evaluator, truth, results), expected)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_visible_keypoints_are_counted_where_the_json_does_not_say(name, register, plain):
    truth, results, expected = plain
    rows = [
        {key: value for key, value in row.items() if key != "num_keypoints"}
        for row in truth["annotations"]
    ]
    for row in rows:
        if not any(row["keypoints"][2::3]):
            row["keypoints"] = None  # as good as none visible
    assert sum(row["keypoints"] is None for row in rows) > 3
    truth = truth | {"annotations": rows}
    evaluator = CocoEvaluator(register(truth), implementation=name)
    assert_equal(results_of(evaluator, truth, results), expected)


def test_an_object_without_area_is_as_large_as_its_box():
    content, _ = random_data(0)
    for row in content["annotations"]:
        del row["area"]
    before = copy.deepcopy(content)
    rows = Truth(content).coco.dataset["annotations"]
    assert content == before
    assert [row["area"] for row in rows] == [
        r["bbox"][2] * r["bbox"][3] for r in before["annotations"]
    ]


@pytest.mark.parametrize("renamed", [lambda i: -i, lambda i: f"image {i:03}"])
def test_the_recall_of_proposals_does_not_depend_on_ids(renamed, register):
    content, _ = random_data(0)
    expected = recall(content, register)
    for row in content["annotations"]:
        row |= {"image_id": renamed(row["image_id"]), "id": 3, "iscrowd": str(row["iscrowd"])}
    for row in content["images"]:
        row["id"] = renamed(row["id"])
    assert 20 < expected["AR@100"] < 90
    assert recall(content, register) == expected


def recall(content, register):
    """Of proposals that are every other object's box, a tenth wider."""
    evaluator = CocoEvaluator(register(content))
    evaluator.reset()
    for image in content["images"]:
        rows = [row for row in content["annotations"] if row["image_id"] == image["id"]][::2]
        boxes = np.array([row["bbox"] for row in rows]).reshape(-1, 4)
        boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:] * (1.1, 1)
        found = Instances((image["height"], image["width"]))
        found.proposal_boxes = Boxes(torch.tensor(boxes))
        found.objectness_logits = torch.linspace(1, 0, len(rows))
        evaluator.process([{"image_id": image["id"]}], [{"proposals": found}])
    return evaluator.evaluate()["box_proposals"]


def test_detections_of_other_images_are_an_error():
    content, results = random_data(0)
    with pytest.raises(InputError, match="image 99 and category 9, which the dataset's json"):
        Truth(content).detections([results[0] | {"image_id": 99, "category_id": 9}], "bbox")
