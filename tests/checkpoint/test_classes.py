"""Weights whose classes have another order than the data's: told by name, and brought into it."""

import json

import numpy as np
import pytest
import torch
from helpers import detectors
from helpers.tiny import CLASSES, TINY, custom, train_net, write_json

from hrnet_det.checkpoint import Checkpointer
from hrnet_det.checkpoint.classes import difference, match_classes, reorder

EVERY_SCORE = ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", "TEST.DETECTIONS_PER_IMAGE", "30"]


@pytest.mark.parametrize(
    ("theirs", "ours", "order", "renamed"),
    [
        (["a", "b", "c"], ["a", "b", "c"], (0, 1, 2), ()),
        (["a", "b", "c"], ["c", "a", "b"], (2, 0, 1), ()),
        (["Traffic_Light", "stop  sign"], ["stop sign", "traffic light"], (1, 0), ()),
        (["a", "b", "star"], ["b", "absent", "a"], (1, 2, 0), (("star", "absent"),)),
        (["a", "b"], ["x", "y"], (0, 1), (("a", "x"), ("b", "y"))),
        (["car", "Car"], ["Car", "car"], (1, 0), ()),  # only as they are written are they two
        (["a", "a"], ["a", "a"], (0, 1), ()),
        (["+", "-"], ["-", "+"], (1, 0), ()),
        (["baum", "häuser"], ["Häuser", "BAUM"], (1, 0), ()),
    ],
)
def test_classes_are_matched_by_name(theirs, ours, order, renamed):
    match = match_classes(theirs, ours)
    assert (match.order, match.renamed) == (order, renamed)
    assert match.unrelated == (len(renamed) == len(ours))
    assert bool(match.moved) == (order != tuple(range(len(ours))))


@pytest.mark.parametrize(("theirs", "ours"), [([], ["a"]), (["a"], []), (["a", "b"], ["a"])])
def test_nothing_to_match(theirs, ours):
    assert match_classes(theirs, ours) is None


def test_the_difference_names_what_only_one_has():
    assert difference(["a", "b", "c"], ["C", "d"]) == (
        "the file has 3 classes, the data 2; only the data has d; only the file has a, b"
    )
    assert difference([], ["a"]) == ""


def test_rows_are_moved_with_their_classes():
    """By hand: three classes, of which place 2 comes first, then 0, then 1."""
    box = "roi_heads.box_predictor."
    rows = torch.arange(12.0)
    given = {
        box + "cls_score.bias": torch.tensor([10.0, 11, 12, 99]),  # the background is the last
        box + "0.cls_score.weight": torch.tensor([[1.0], [2], [3], [9]]),
        box + "bbox_pred.bias": rows,  # four of each class
        box + "0.bbox_pred.bias": rows[:4],  # of all classes together
        "roi_heads.mask_head.predictor.bias": rows[:3],
        "roi_heads.mask_head.0.predictor.bias": rows[:1],
        "head.cls_score.bias": rows[:6],  # of two anchors
        "head.bbox_pred.bias": rows[:8],
        "roi_heads.keypoint_head.score_lowres.bias": rows[:3],  # of keypoints
        "sem_seg_head.predictor.bias": rows[:3],
        "roi_heads.box_head.fc1.bias": rows[:3],
    }
    moved = {name: tensor.flatten().tolist() for name, tensor in reorder(given, (2, 0, 1)).items()}
    assert moved == {
        **{name: tensor.flatten().tolist() for name, tensor in given.items()},
        box + "cls_score.bias": [12, 10, 11, 99],
        box + "0.cls_score.weight": [3, 1, 2, 9],
        box + "bbox_pred.bias": [8, 9, 10, 11, 0, 1, 2, 3, 4, 5, 6, 7],
        "roi_heads.mask_head.predictor.bias": [2, 0, 1],
        "head.cls_score.bias": [2, 0, 1, 5, 3, 4],
    }


@pytest.mark.parametrize(
    "kind", ["mask", "keypoint", "retinanet", "fcos", "cascade mask", "panoptic", "htc"]
)
def test_detections_are_the_same_with_the_classes_of_the_data(kind, tmp_path):
    theirs, ours = ["bar", "disc", "star"], ["star", "bar", "disc"]
    model = detectors.detector(kind, *EVERY_SCORE)
    Checkpointer(model, str(tmp_path), metadata={"classes": theirs}).save("theirs")
    expected = detectors.detect(model)
    assert len(set(torch.cat([row.pred_classes for row in expected]).tolist())) > 1
    other = detectors.detector(kind, *EVERY_SCORE)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    checkpointer = Checkpointer(other, metadata={"classes": ours})
    checkpointer.load(str(tmp_path / "theirs.pth"))
    place = torch.tensor([ours.index(name) for name in theirs])
    for found, instances in zip(detectors.detect(other), expected, strict=True):
        instances.pred_classes = place[instances.pred_classes]
        detectors.assert_same(found, instances)
    assert checkpointer.report.complete
    line = "classes another order in the file: moved by name, star from place 3 to 1, ..."
    assert line in [" ".join(row.split()) for row in str(checkpointer.report).splitlines()]


def test_where_the_data_is_not_known_classes_stay(tmp_path):
    model = detectors.detector("mask")
    Checkpointer(model, str(tmp_path), metadata={"classes": ["a", "b", "c"]}).save("theirs")
    checkpointer = Checkpointer(detectors.detector("mask"))
    checkpointer.load(str(tmp_path / "theirs.pth"))
    assert checkpointer.class_match is None and checkpointer.report.classes == ""
    assert checkpointer.file_classes == ["a", "b", "c"]


# --- training and evaluation ---


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a Mask R-CNN that detects something, with the names of its three classes."""
    folder = tmp_path_factory.mktemp("classes")

    def make(names):
        model = detectors.detector("mask")
        Checkpointer(model, str(folder), metadata={"classes": names}).save("model")
        return folder / "model.pth"

    return make


@pytest.fixture
def run(coco, tmp_path):
    """Evaluates or trains on the classes bar, absent, disc (in the order of their ids)."""
    content = json.loads((coco / "polygons.json").read_text())
    ids = dict(zip((7, 12, 3), (1, 2, 3), strict=True))
    for row in content["categories"]:
        row["id"] = ids[row["id"]]
    for row in content["annotations"]:
        row["category_id"] = ids[row["category_id"]]
    write_json(coco / "other_order.json", content)

    def run(file, output, *more, annotations="other_order.json"):
        options = [word for word in more if str(word).startswith("--")]
        rest = [word for word in more if word not in options]
        data = custom(coco, annotations)
        words = [*TINY, *detectors.OWN[:2], *detectors.OWN[4:], *data, "MODEL.WEIGHTS", file]
        words += ["OUTPUT_DIR", tmp_path / output, *EVERY_SCORE]
        return train_net("--config-file", "quickstart/mask_rcnn.yaml", *options, *words, *rest)

    return run


def detections(folder, names):
    rows = json.loads((folder / "inference" / "coco_instances_results.json").read_text())
    rows.sort(key=lambda row: (names[row["category_id"]], row["score"]))
    return [names[row["category_id"]] for row in rows], [[r["score"], *r["bbox"]] for r in rows]


def test_an_evaluation_on_another_order_detects_the_same(weights, run, tmp_path):
    file = weights(CLASSES)
    outcome = run(file, "same", "--eval-only", annotations="polygons.json")
    assert outcome.code == 0 and "another order" not in outcome.out
    outcome = run(file, "other", "--eval-only")
    assert outcome.code == 0, outcome.err
    assert "another order in the file: moved by name, bar from place 2 to 1, ..." in outcome.out
    assert "other classes" not in outcome.out
    names, numbers = detections(tmp_path / "same", {3: "disc", 7: "bar", 12: "absent"})
    assert len(names) > 10 and set(names) == set(CLASSES)
    found = detections(tmp_path / "other", {1: "bar", 2: "absent", 3: "disc"})
    assert found[0] == names
    np.testing.assert_allclose(found[1], numbers, atol=1e-3)


def test_a_training_starts_from_the_classes_of_the_data(weights, run, tmp_path):
    file = weights(CLASSES)
    outcome = run(file, "run", "SOLVER.MAX_ITER", "1", "SOLVER.BASE_LR", "0.0")
    assert outcome.code == 0, outcome.err
    assert "another order in the file: moved by name" in outcome.out
    before, after = (
        torch.load(path, weights_only=True) for path in (file, tmp_path / "run/model_final.pth")
    )
    assert after["hrnet_det"]["classes"] == ["bar", "absent", "disc"]
    name = "roi_heads.box_predictor.cls_score.weight"
    assert torch.equal(after["model"][name], before["model"][name][[1, 2, 0, 3]])


def test_a_run_is_not_resumed_with_another_order(run, weights, tmp_path):
    words = ["SOLVER.MAX_ITER", "1", "SOLVER.BASE_LR", "0.0"]
    assert run(weights(CLASSES), "run", *words, annotations="polygons.json").code == 0
    words[1] = "2"
    outcome = run(weights(CLASSES), "run", "--resume", *words)
    assert outcome.code == 2
    assert "(disc, bar, absent) are in another order than those of the data" in outcome.err
    assert run("", "run", "--resume", "--eval-only").code == 0


def test_classes_of_which_only_some_are_the_datas(weights, run):
    outcome = run(weights(["disc", "bar", "star"]), "run", "--eval-only")
    assert outcome.code == 0
    assert "other classes than those of the data (star in place of absent); its" in outcome.out
    assert "another order in the file: moved by name, bar from place 2 to 1" in outcome.out


def test_wholly_other_classes_are_evaluated_only_if_asked_for(weights, run):
    file = weights(["cat", "dog", "bird"])
    outcome = run(file, "run", "--eval-only")
    assert (outcome.code, outcome.err) == (
        2,
        f"error: --eval-only: {file} was trained for cat, dog, bird, and the data has bar, absent, "
        "disc: not one class is in both. Take other data or weights; if only the names differ, "
        "MODEL.WEIGHTS_STRICT False takes the classes in their order\n",
    )
    outcome = run(file, "run", "--eval-only", "MODEL.WEIGHTS_STRICT", "False")
    assert outcome.code == 0
    assert "other classes than those of the data (cat in place of bar, dog in place" in outcome.out


def test_another_number_of_classes_is_named(weights, run, coco):
    content = json.loads((coco / "polygons.json").read_text())
    content["categories"].append({"id": 40, "name": "star"})
    write_json(coco / "four.json", content)
    outcome = run(weights(CLASSES), "run", "--eval-only", annotations="four.json")
    assert outcome.code == 2
    assert "with the same classes (the file has 3 classes, the data 4; only the data has star)" in (
        outcome.err
    )
