"""COCO evaluation: every implementation against pycocotools, which of them is taken, and errors."""

import contextlib
import copy
import io
import json
import logging
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import COCOEvaluator, coco_evaluation
from detectron2.structures import Boxes, Instances
from helpers.tiny import TINY, custom, train_net, write_json
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det.config.keys import get_cfg
from hrnet_det.config.load import as_run
from hrnet_det.engine.trainer import Trainer
from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import (
    CocoEvaluator,
    encode_masks,
    find_implementation,
    installed_implementations,
)

HEIGHT, WIDTH, POINTS = 160, 240, 17
IDS = (9, 4, 2, 7)  # of the categories, unsorted; 7 has neither objects nor detections
OWN = "detectron2.evaluation.fast_eval_api"  # Detectron2's own, where its C++ part was built
FASTER = "faster_coco_eval"
OTHERS = [found.name for found in installed_implementations() if found.name != "pycocotools"]
RESULTS = "coco_instances_results.json"


def random_box(rng):
    """[x, y, w, h] of COCO's small, medium or large size, now and then empty."""
    w, h = rng.uniform(4, rng.choice([30, 90, 150]), 2) * (rng.random() > 0.03)
    return [float(v) for v in (rng.uniform(0, WIDTH - w), rng.uniform(0, HEIGHT - h), w, h)]


def ellipse(box):
    x, y, w, h = box
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    corners = np.stack([x + w / 2 * (1 + np.cos(angles)), y + h / 2 * (1 + np.sin(angles))], 1)
    return corners.ravel().tolist()


def random_points(rng, box):
    x, y, w, h = box
    xs, ys = x + rng.random(POINTS) * w, y + rng.random(POINTS) * h
    return np.stack([xs, ys, rng.integers(0, 3, POINTS)], 1) * (rng.random() > 0.15)


def run_lengths(box, *, compressed):
    encoded = coco_mask.frPyObjects([ellipse(box)], HEIGHT, WIDTH)[0]
    if compressed:
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = coco_mask.decode(encoded).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(edges, prepend=0).tolist()}


def random_object(rng, number, image_id):
    box, crowd = random_box(rng), int(rng.random() < 0.2)
    points = random_points(rng, box)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": int(rng.choice(IDS[:3])),
        "bbox": box,
        "area": box[2] * box[3] * 0.7,
        "iscrowd": crowd,
        "segmentation": run_lengths(box, compressed=False) if crowd else [ellipse(box)],
        "keypoints": points.ravel().tolist(),
        "num_keypoints": int((points[:, 2] > 0).sum()),
    }


def random_detection(rng, objects, image_id):
    """Of an object, moved a little, or of nothing; one in ten scores is of several detections."""
    box, points = random_box(rng), None
    label = int(rng.choice(IDS[:3]))
    if objects and rng.random() < 0.5:
        found = objects[rng.integers(len(objects))]
        box = [float(max(v + rng.normal(0, 3), 0)) for v in found["bbox"]]
        points = np.reshape(found["keypoints"], (-1, 3)) + rng.normal(0, 3, (POINTS, 3))
        label = found["category_id"]
    points = random_points(rng, box) if points is None else points
    score = rng.random()
    return {
        "image_id": image_id,
        "category_id": label,
        "score": float(round(score, 1) if rng.random() < 0.1 else score),
        "bbox": box,
        "segmentation": run_lengths(box, compressed=True),
        "keypoints": points.ravel().tolist(),
    }


def random_data(seed, image_ids=tuple(range(3, 75, 3))):
    """A COCO json and results: images without objects, without detections, with more than 100."""
    rng = np.random.default_rng(seed)
    objects, results = [], []
    for i, image_id in enumerate(image_ids):
        number = 0 if i % 4 == 0 else rng.integers(1, 7)
        here = [random_object(rng, len(objects) + 1 + n, image_id) for n in range(number)]
        objects += here
        number = 0 if i % 5 == 1 else 130 if i == 2 else rng.integers(1, 40)
        results += [random_detection(rng, here, image_id) for _ in range(number)]
    images = [
        {"id": i, "file_name": f"{i}.png", "height": HEIGHT, "width": WIDTH} for i in image_ids
    ]
    categories = [{"id": i, "name": f"class {i}", "keypoints": ["p"] * POINTS} for i in IDS]
    return {"images": images, "annotations": objects, "categories": categories}, results


def evaluated(make, truth, results, iou_type):
    """The finished evaluation, and what it printed."""
    results = copy.deepcopy(results)
    if iou_type == "segm":  # as Detectron2: an object's size is its mask's area, not its box's
        results = [{k: v for k, v in row.items() if k != "bbox"} for row in results]
    annotations = COCO()
    annotations.dataset = copy.deepcopy(truth)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        annotations.createIndex()
        evaluation = make(annotations, annotations.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation, printed.getvalue()


def category_ap(evaluation):
    """(classes,) AP of each category, all sizes, most detections; nan without objects."""
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    each = [precision[:, :, k] for k in range(precision.shape[2])]
    return np.array([p[p > -1].mean() if (p > -1).any() else np.nan for p in each])


# --- the same results ---


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("iou_type", ["bbox", "segm", "keypoints"])
@pytest.mark.parametrize("seed", range(3))
def test_every_number_is_that_of_pycocotools(name, iou_type, seed):
    truth, results = random_data(seed)
    theirs, their_print = evaluated(COCOeval, truth, results, iou_type)
    ours, our_print = evaluated(find_implementation(name).evaluation, truth, results, iou_type)
    assert theirs.stats.shape == ((10,) if iou_type == "keypoints" else (12,))
    assert 0.01 < theirs.stats[0] < 0.9
    np.testing.assert_allclose(ours.stats, theirs.stats, rtol=0, atol=1e-6)
    expected = category_ap(theirs)
    assert np.isnan(expected).tolist() == [False, False, True, False]  # in the order of ids
    np.testing.assert_allclose(category_ap(ours), expected, rtol=0, atol=1e-6)
    for part in ("precision", "recall", "scores"):
        np.testing.assert_allclose(ours.eval[part], theirs.eval[part], rtol=0, atol=1e-6)
    summary, printed = (
        [line for line in text.splitlines() if line.startswith(" Average")]
        for text in (their_print, our_print)
    )
    assert len(summary) == len(theirs.stats)
    assert printed[: len(summary)] == summary  # faster-coco-eval adds recall at IoU 0.5 and 0.75


@pytest.mark.parametrize("image_ids", [(10**12, 10**12 + 5, 7, 1), (5,)])
def test_ids_may_be_large_and_in_any_order(image_ids):
    truth, results = random_data(0, image_ids)
    truth["annotations"].append(random_object(np.random.default_rng(1), 10**12, image_ids[0]))
    results.append(random_detection(np.random.default_rng(1), [], image_ids[0]))
    theirs, _ = evaluated(COCOeval, truth, results, "bbox")
    ours, _ = evaluated(find_implementation(FASTER).evaluation, truth, results, "bbox")
    np.testing.assert_allclose(ours.stats, theirs.stats, rtol=0, atol=1e-6)


# --- the evaluator ---


@pytest.fixture
def dataset(tmp_path):
    """Registers a dataset of random data under a name, and forgets it after the test."""
    names = []

    def register(truth):
        name = f"random_{tmp_path.name}_{len(names)}"
        order = sorted(IDS)
        MetadataCatalog.get(name).set(
            json_file=str(write_json(tmp_path / f"{name}.json", truth)),
            evaluator_type="coco",
            thing_classes=[f"class {i}" for i in order],
            thing_dataset_id_to_contiguous_id={i: k for k, i in enumerate(order)},
        )
        DatasetCatalog.register(name, list)
        names.append(name)
        return name

    yield register
    for name in names:
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def outputs(results, image_id):
    """What a detector would return for an image, as a dictionary with Instances."""
    rows = [row for row in results if row["image_id"] == image_id]
    found = Instances((HEIGHT, WIDTH))
    boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float32).reshape(-1, 4)
    found.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1))
    found.scores = torch.tensor([row["score"] for row in rows])
    found.pred_classes = torch.tensor([sorted(IDS).index(row["category_id"]) for row in rows])
    masks = [coco_mask.decode(row["segmentation"]) for row in rows]
    found.pred_masks = torch.tensor(np.array(masks, bool).reshape(-1, HEIGHT, WIDTH))
    points = torch.tensor([row["keypoints"] for row in rows])
    found.pred_keypoints = points.reshape(-1, POINTS, 3)
    return {"instances": found}


def results_of(evaluator, truth, results):
    evaluator.reset()
    for image in truth["images"]:
        evaluator.process([{"image_id": image["id"]}], [outputs(results, image["id"])])
    with contextlib.redirect_stdout(io.StringIO()):
        return evaluator.evaluate()


def assert_same(given, expected):
    """The same tasks and metrics in the same order, in percent equal to 1e-6; nan as nan."""
    assert list(given) == list(expected)
    for task, values in expected.items():
        assert list(given[task]) == list(values)
        assert {"AP", "AP50", "AP75", "APm", "APl", "AP-class 9"} <= set(values)
        numbers = [list(part[task].values()) for part in (given, expected)]
        np.testing.assert_allclose(*numbers, rtol=0, atol=1e-6)


def test_the_evaluator_returns_what_detectron2s_returns_with_pycocotools(dataset, tmp_path):
    truth, results = random_data(0)
    name = dataset(truth)
    theirs = COCOEvaluator(name, use_fast_impl=False, output_dir=str(tmp_path / "theirs"))
    expected = results_of(theirs, truth, results)
    assert list(expected) == ["bbox", "keypoints", "segm"]
    for other in [*OTHERS, "pycocotools"]:
        ours = CocoEvaluator(name, implementation=other, output_dir=str(tmp_path / other))
        assert_same(results_of(ours, truth, results), expected)
        folders = [{file.name for file in (tmp_path / n).iterdir()} for n in (other, "theirs")]
        assert folders[0] == folders[1] == {"instances_predictions.pth", RESULTS}
        written = [json.loads((tmp_path / n / RESULTS).read_text()) for n in (other, "theirs")]
        assert written[0] == written[1]
        assert len(written[0]) == len(results)


def test_the_evaluator_calls_its_implementation_and_leaves_detectron2_as_it_was(dataset):
    truth, results = random_data(0)
    evaluator = CocoEvaluator(dataset(truth), implementation=FASTER)
    before, tasks = coco_evaluation.COCOeval_opt, []

    def noted(annotations, detections, iou_type):
        tasks.append(iou_type)
        return find_implementation(FASTER).evaluation(annotations, detections, iou_type)

    evaluator.implementation = replace(evaluator.implementation, evaluation=noted)
    results_of(evaluator, truth, results)
    assert tasks == ["bbox", "keypoints", "segm"]
    assert coco_evaluation.COCOeval_opt is before


def test_an_evaluator_without_detections_has_no_ap(dataset):
    truth, _ = random_data(0)
    given = results_of(CocoEvaluator(dataset(truth)), truth, [])
    assert list(given) == ["bbox"]
    assert np.isnan(list(given["bbox"].values())).all()


@pytest.fixture
def messages(caplog):
    """What hrnet_det logs."""
    logger = logging.getLogger("detectron2.hrnet_det")
    caplog.set_level(logging.INFO, logger=logger.name)
    caplog.clear()
    logger.addHandler(caplog.handler)
    yield lambda: set(caplog.messages)
    logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("name", [FASTER, "pycocotools"])
def test_the_config_decides_and_the_log_says_it(name, dataset, messages, tmp_path):
    registered = dataset(random_data(0)[0])
    cfg = get_cfg()
    cfg.TEST.COCO_EVAL, cfg.OUTPUT_DIR = name, str(tmp_path)
    evaluator = Trainer.build_evaluator(as_run(cfg), registered)
    assert evaluator.implementation.name == name
    assert f"COCO evaluation of {registered}: {name}" in messages()


def test_ids_that_are_no_whole_numbers_are_for_pycocotools(dataset, messages):
    truth, results = random_data(0, ("a", "b", "c", "d"))
    name = dataset(truth)
    with pytest.raises(InputError) as error:
        CocoEvaluator(name, implementation=FASTER)
    assert str(error.value) == (
        "TEST.COCO_EVAL faster_coco_eval takes only whole numbers as ids; "
        f"{MetadataCatalog.get(name).json_file} has others: set TEST.COCO_EVAL pycocotools"
    )
    evaluator = CocoEvaluator(name, implementation="auto")
    theirs = COCOEvaluator(name, use_fast_impl=False)
    assert evaluator.implementation.name == "pycocotools"
    assert f"COCO evaluation of {name}: pycocotools" in messages()
    assert_same(results_of(evaluator, truth, results), results_of(theirs, truth, results))


# --- masks ---


def detectron2s_encoding(mask):
    encoded = coco_mask.encode(np.asfortranarray(mask[:, :, None], dtype=np.uint8))[0]
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


def corner_cases():
    """(N, 6, 5) bool: nothing, everything, and each pixel, row and column alone and left out."""
    one = torch.eye(30, dtype=torch.bool).reshape(30, 6, 5)
    rows = torch.eye(6, dtype=torch.bool)[:, :, None].expand(6, 6, 5)
    columns = torch.eye(5, dtype=torch.bool)[:, None, :].expand(5, 6, 5)
    some = torch.cat([torch.zeros(1, 6, 5, dtype=torch.bool), one, rows, columns])
    return torch.cat([some, ~some])


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_masks_are_encoded_as_pycocotools_encodes_them(share):
    noise = torch.rand(50, 6, 5, generator=torch.Generator().manual_seed(0)) < share
    for masks in (corner_cases(), noise, noise.transpose(1, 2)):
        assert encode_masks(masks) == [detectron2s_encoding(mask) for mask in masks.numpy()]
    assert encode_masks(noise[:0]) == []


def test_other_masks_and_proposals_are_left_to_detectron2(dataset):
    truth, results = random_data(0)
    name = dataset(truth)
    ours, theirs = CocoEvaluator(name), COCOEvaluator(name, use_fast_impl=False)
    for evaluator in (ours, theirs):
        output = outputs(results, 3)  # Detectron2 moves its keypoints in place
        output["instances"].pred_masks = output["instances"].pred_masks.to(torch.uint8)
        evaluator.reset()
        evaluator.process([{"image_id": 3}, {"image_id": 6}], [output, {"proposals": Boxes([])}])
    first, second = ours._predictions
    assert len(first["instances"]) > 0
    assert first == theirs._predictions[0]
    assert list(second) == ["image_id", "proposals"]


# --- which one ---


@pytest.fixture
def installed(monkeypatch):
    """Makes Detectron2's own and faster-coco-eval absent, but for those that are named."""

    def only(*modules):
        for module in {OWN, FASTER} - set(modules):
            monkeypatch.setitem(sys.modules, module, None)
        if OWN in modules:
            monkeypatch.setitem(sys.modules, OWN, ModuleType(OWN))
            sys.modules[OWN].COCOeval_opt = COCOeval

    return only


@pytest.mark.parametrize(
    ("modules", "names"),
    [
        ((OWN, FASTER), ["detectron2", "faster_coco_eval", "pycocotools"]),
        ((OWN,), ["detectron2", "pycocotools"]),
        ((FASTER,), ["faster_coco_eval", "pycocotools"]),
        ((), ["pycocotools"]),
    ],
)
def test_auto_takes_the_first_that_is_installed(modules, names, installed):
    installed(*modules)
    assert [found.name for found in installed_implementations()] == names
    assert find_implementation("auto").name == names[0]
    assert get_cfg().TEST.COCO_EVAL == "auto"


def test_what_is_not_installed_is_refused_with_the_command_that_installs_it(installed):
    installed()
    end = ", or set TEST.COCO_EVAL auto, which takes what is installed"
    for name, how in (
        (
            "detectron2",
            "hrnet-det install-detectron2 --from "
            "'git+https://github.com/facebookresearch/detectron2.git' (needs a compiler)",
        ),
        ("faster_coco_eval", "pip install 'faster-coco-eval>=1.6.5'"),
    ):
        with pytest.raises(InputError) as error:
            find_implementation(name)
        message = str(error.value)
        assert message.startswith(f"TEST.COCO_EVAL {name} cannot be used here (ModuleNotFoundErr")
        assert message.endswith(f"): {how}{end}")


def test_an_unknown_one_is_refused_before_training(coco, tmp_path):
    words = [*custom(coco, "boxes.json"), *TINY, "OUTPUT_DIR", tmp_path / "run"]
    outcome = train_net("--config-file", "hrnetv2p_faster_rcnn.yaml", *words, "TEST.COCO_EVAL", "x")
    assert outcome.code != 0
    known = "auto, detectron2, faster_coco_eval, pycocotools"
    assert f"error: unknown TEST.COCO_EVAL 'x'; known: {known}\n" in outcome.err
    assert not (tmp_path / "run").exists()
