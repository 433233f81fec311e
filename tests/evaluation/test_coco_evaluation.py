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
from detectron2.evaluation import COCOEvaluator, coco_evaluation
from detectron2.structures import Boxes
from helpers.coco_results import (
    outputs,
    random_data,
    random_detection,
    random_object,
    registering,
    results_of,
)
from helpers.tiny import TINY, custom, train_net
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hrnet_det.config.keys import get_cfg
from hrnet_det.config.load import as_run
from hrnet_det.engine.trainer import Trainer
from hrnet_det.errors import InputError
from hrnet_det.evaluation.coco import CocoEvaluator, encode_masks
from hrnet_det.evaluation.coco_summary import summarize
from hrnet_det.evaluation.implementations import find_implementation, installed_implementations

OWN = "detectron2.evaluation.fast_eval_api"  # Detectron2's own, where its C++ part was built
FASTER = "faster_coco_eval"
OTHERS = [found.name for found in installed_implementations() if found.name != "pycocotools"]
RESULTS = "coco_instances_results.json"


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
    summary, our_lines = (
        [line for line in text.splitlines() if line.startswith(" Average")]
        for text in (their_print, our_print)
    )
    assert len(summary) == len(theirs.stats)
    expected = theirs.stats.tolist()
    for evaluation in (theirs, ours):  # by the summary that all of them get, to the digit
        evaluation.stats = None
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            summarize(evaluation)
        assert printed.getvalue().splitlines() == summary
        np.testing.assert_allclose(evaluation.stats, expected, rtol=0, atol=1e-12)
    assert our_lines[: len(summary)] == summary  # faster-coco-eval adds recall at IoU 0.5 and 0.75


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
    with registering(tmp_path) as register:
        yield register


def assert_same(given, expected):
    """The same tasks and metrics in the same order, in percent equal to 1e-10; nan as nan."""
    assert list(given) == list(expected)
    for task, values in expected.items():
        assert list(given[task]) == list(values)
        assert {"AP", "AP50", "AP75", "APm", "APl", "AP-class 9"} <= set(values)
        numbers = [list(part[task].values()) for part in (given, expected)]
        np.testing.assert_allclose(*numbers, rtol=0, atol=1e-10)


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
