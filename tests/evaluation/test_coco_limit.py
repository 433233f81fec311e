"""How many detections AP is of: COCO's 100, or as many as the data needs; and AP of none."""

import contextlib
import logging

import numpy as np
import pytest
import torch
from detectron2.data import Metadata, MetadataCatalog
from detectron2.structures import Boxes, Instances
from helpers.coco_results import random_data, registering, results_of

from hrnet_det.config.keys import get_cfg
from hrnet_det.config.load import as_run, load_run
from hrnet_det.evaluation.coco import CocoEvaluator
from hrnet_det.evaluation.evaluators import detections_per_image
from hrnet_det.evaluation.implementations import installed_implementations

IMPLEMENTATIONS = [found.name for found in installed_implementations()]
SIDE, CLASSES = 1000, (1, 2)


@pytest.fixture
def register(tmp_path):
    with registering(tmp_path) as register:
        yield register


@pytest.fixture
def warnings(caplog, monkeypatch):
    """What hrnet_det warns of, in order."""
    logger = logging.getLogger("detectron2.hrnet_det")
    monkeypatch.setattr(logger, "propagate", False)  # else caplog has it twice
    logger.addHandler(caplog.handler)
    yield lambda: [row.message for row in caplog.records if row.levelno == logging.WARNING]
    logger.removeHandler(caplog.handler)


def crowded(seed, objects):
    """A json with so many boxes in each image, and detections of them: (boxes, scores, labels)."""
    rng = np.random.default_rng(seed)
    annotations, detections = [], []
    for image_id, number in enumerate(objects, 1):
        sides = rng.uniform(8, 80, (number, 2))
        boxes = np.hstack([rng.uniform(0, SIDE - 80, (number, 2)), sides])
        labels = rng.choice(CLASSES, number, p=(0.7, 0.3))
        annotations += [
            {
                "id": len(annotations) + n,
                "image_id": image_id,
                "category_id": int(label),
                "bbox": box.tolist(),
                "area": float(box[2] * box[3]),
                "iscrowd": 0,
            }
            for n, (box, label) in enumerate(zip(boxes, labels, strict=True), 1)
        ]
        found = boxes + rng.normal(0, 1.5, boxes.shape)
        found[:, 2:] = np.maximum(found[:, 2:], 1)
        twice = rng.random(number) < 0.3  # and some objects are found twice
        found, labels = np.vstack([found, found[twice] + 1]), np.append(labels, labels[twice])
        detections.append((found, rng.permutation(len(found)) / len(found), labels))
    images = [
        {"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE}
        for n in range(1, len(objects) + 1)
    ]
    categories = [{"id": n, "name": f"class {n}"} for n in CLASSES]
    return {"images": images, "annotations": annotations, "categories": categories}, detections


def evaluate(evaluator, detections):
    evaluator.reset()
    for image_id, (boxes, scores, labels) in enumerate(detections, 1):
        found = Instances((SIDE, SIDE))
        found.pred_boxes = Boxes(
            torch.from_numpy(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]))
        )
        found.scores = torch.from_numpy(scores)
        found.pred_classes = torch.from_numpy(labels - 1)
        evaluator.process([{"image_id": image_id}], [{"instances": found}])
    return evaluator.evaluate()["bbox"]


def naive_ap(truth, detections, limit, iou, label):
    """AP of a category in percent, of the best `limit` detections of each image, step by step."""
    objects, rows = 0, []
    for image_id, (boxes, scores, labels) in enumerate(detections, 1):
        left = [
            row["bbox"]
            for row in truth["annotations"]
            if (row["image_id"], row["category_id"]) == (image_id, label)
        ]
        objects += len(left)
        order = [k for k in np.argsort(-scores) if labels[k] == label][:limit]
        for k in order:
            overlaps = [overlap(boxes[k], box) for box in left]
            best = int(np.argmax(overlaps)) if overlaps else -1
            hit = best >= 0 and overlaps[best] >= iou
            if hit:
                del left[best]
            rows.append((scores[k], hit))
    rows.sort(key=lambda row: -row[0])
    hits = np.cumsum([hit for _, hit in rows])
    recall, precision = hits / objects, hits / np.arange(1, len(rows) + 1)
    levels = [precision[recall >= level].max(initial=0) for level in np.linspace(0, 1, 101)]
    return 100 * np.mean(levels)


def overlap(one, other):
    width, height = (
        max(min(one[k] + one[k + 2], other[k] + other[k + 2]) - max(one[k], other[k]), 0)
        for k in (0, 1)
    )
    both = width * height
    return both / (one[2] * one[3] + other[2] * other[3] - both)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("limit", [100, 130, 300])
def test_ap_is_of_as_many_detections_as_are_asked_for(limit, name, register, capsys):
    truth, detections = crowded(0, (250, 3, 120))
    evaluator = CocoEvaluator(register(truth), implementation=name, detections_per_image=limit)
    given = evaluate(evaluator, detections)
    ious = np.linspace(0.5, 0.95, 10)
    expected = np.array(
        [[naive_ap(truth, detections, limit, iou, label) for iou in ious] for label in CLASSES]
    )
    assert given["AP"] == pytest.approx(expected.mean(), abs=1e-9)
    assert given["AP50"] == pytest.approx(expected[:, 0].mean(), abs=1e-9)
    assert given["AP75"] == pytest.approx(expected[:, 5].mean(), abs=1e-9)
    assert given["AP-class 1"] == pytest.approx(expected[0].mean(), abs=1e-9)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(" Average")]
    assert len(lines) == 12
    ends = [f"maxDets={n:>3d} ]" for n in (*[limit] * 6, 1, 10, *[limit] * 4)]
    assert all(end in line for line, end in zip(lines, ends, strict=True))
    assert given.get("maxDets") == (None if limit == 100 else limit)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_150_objects_are_all_counted(name, register, warnings):
    truth, _ = crowded(0, (150,))
    rows = truth["annotations"]
    for row in rows:
        row["category_id"] = 1
    boxes = np.array([row["bbox"] for row in rows])
    perfect = [(boxes, np.linspace(1, 0.5, 150), np.ones(150, int))]
    dataset = register(truth)
    found = {}
    for limit in (None, 60, 100, 150):
        with contextlib.suppress(KeyError):
            options = {"implementation": name, "detections_per_image": limit}
            found[limit] = evaluate(CocoEvaluator(dataset, **options), perfect)["AP"]
    # 100 of 150 reach a recall of 0.667: 67 of the 101 levels, 0 to 0.66
    cut = pytest.approx(100 * 67 / 101)
    assert found == {None: cut, 60: cut, 100: cut, 150: pytest.approx(100)}
    start = f"AP of {dataset} is limited: 1 of its images have more objects (up to 150) than the "
    end = " detections that TEST.DETECTIONS_PER_IMAGE keeps"
    assert warnings() == [f"{start}60{end}", f"{start}100{end}"]


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_keypoints_of_more_than_20_objects_are_all_counted(name, register):
    objects = [
        {
            "id": n,
            "image_id": 1,
            "category_id": 1,
            "bbox": [20.0 * n, 5.0, 10.0, 10.0],
            "area": 5000.0,
            "iscrowd": 0,
            "keypoints": [20.0 * n + 5, 9.5, 2] * 17,
            "num_keypoints": 17,
        }
        for n in range(40)
    ]
    truth, _ = crowded(0, (0,))
    truth["annotations"] = objects
    found = Instances((SIDE, SIDE))
    boxes = torch.tensor([row["bbox"] for row in objects])
    found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1))
    found.scores = torch.linspace(1, 0.5, 40)
    found.pred_classes = torch.zeros(40, dtype=torch.long)
    points = torch.tensor([row["keypoints"] for row in objects]).reshape(40, 17, 3)
    points[..., :2] += 0.5  # which Detectron2 takes off
    dataset, results = register(truth), {}
    for limit in (None, 100, 300):
        evaluator = CocoEvaluator(dataset, implementation=name, detections_per_image=limit)
        evaluator.reset()
        found.pred_keypoints = points.clone()
        evaluator.process([{"image_id": 1}], [{"instances": found}])
        given = evaluator.evaluate()["keypoints"]
        results[limit] = given["AP"], given.get("maxDets")
    cut = pytest.approx(100 * 51 / 101)  # recall 0.5: the levels 0 to 0.5
    assert results == {None: (cut, None), 100: (pytest.approx(100), 100), 300: (100, 300)}


# --- whose limit ---


def test_cocos_own_sets_keep_cocos_limit(register):
    cfg = get_cfg()
    cfg.TEST.DETECTIONS_PER_IMAGE = 300
    run = as_run(cfg)
    own = ("coco_2017_val", "coco_2014_minival", "keypoints_coco_2017_val")
    panoptic = ("coco_2017_val_panoptic_separated", "coco_2017_val_100_panoptic_stuffonly")
    for name in (*own, *panoptic):
        assert detections_per_image(run, name) is None
    assert detections_per_image(run, register(random_data(0)[0])) == 300


def test_own_data_under_cocos_name_is_not_cocos(monkeypatch):
    run = as_run(get_cfg())
    other = Metadata(name="coco_2017_val", thing_classes=["person", "tree"])
    monkeypatch.setitem(MetadataCatalog.data, "coco_2017_val", other)
    assert detections_per_image(run, "coco_2017_val") == 100


@pytest.mark.parametrize(
    ("config", "words", "expected"),
    [
        ("COCO-Detection/fcos_hrnetv2p_w18_1x.py", [], 100),
        ("COCO-Detection/fcos_hrnetv2p_w18_1x.py", ["model.max_detections_per_image=7"], 7),
        ("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py", [], 100),
        (
            "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py",
            ["+model.roi_heads.box_predictor.test_topk_per_image=5"],
            5,
        ),
    ],
)
def test_a_lazy_config_says_it_in_its_model(config, words, expected):
    assert load_run(config, words).detections_per_image == expected


# --- nothing detected ---


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_nothing_detected_is_an_ap_of_0_and_said(name, register, warnings):
    truth, _ = random_data(0)
    dataset = register(truth)
    given = results_of(CocoEvaluator(dataset, implementation=name), truth, [])
    assert list(given) == ["bbox", "keypoints", "segm"]
    for values in given.values():
        numbers = dict(values)
        assert np.isnan(numbers.pop("AP-class 7"))  # of which there are no objects
        assert set(numbers.values()) == {0}
        assert {"AP", "AP50", "APl", "AP-class 9"} <= set(numbers)
    assert warnings() == [
        f"nothing was detected in {dataset}: no score is over the detector's threshold "
        "(SCORE_THRESH_TEST of its head), so AP is 0"
    ]


def test_without_objects_there_is_no_ap(register):
    truth, _ = random_data(0)
    truth["annotations"] = []
    given = results_of(CocoEvaluator(register(truth)), truth, [])
    assert np.isnan(given["bbox"]["AP"])
