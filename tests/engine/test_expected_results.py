"""TEST.EXPECTED_RESULTS: what no evaluation gives is refused before the start."""

import math

import pytest
from helpers.refusals import refusal
from helpers.tiny import train_net
from helpers.training import words

from hrnet_det.config.load import load_run
from hrnet_det.data.datasets import Splits
from hrnet_det.engine.job import Job
from hrnet_det.engine.testing import verify_expected
from hrnet_det.engine.training_checks import check_evaluations

FASTER, MASK = "hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"
KEYPOINT = "quickstart/keypoint_rcnn.yaml"
RPN, PANOPTIC = "Base-RPN-HRNetV2p.yaml", "Base-Panoptic-FPN-HRNetV2p.yaml"
SEMANTIC = "Base-SemanticSegmentation-HRNetV2.yaml"
COCO, COCO_PANOPTIC = "coco_2017_val", "coco_2017_val_panoptic_separated"


def check(config, task, *tests, more=()):
    expected = ["TEST.EXPECTED_RESULTS", f"[['{task}', 'AP', 99, 1]]"]
    given = Job(load_run(config, [*expected, *more]))
    given.splits = Splits((), tests)
    check_evaluations(given)


@pytest.mark.parametrize(
    ("config", "test", "known"),
    [
        (FASTER, COCO, ["bbox"]),
        (MASK, COCO, ["bbox", "segm"]),
        (KEYPOINT, COCO, ["bbox", "keypoints"]),
        (RPN, COCO, ["box_proposals"]),
        (PANOPTIC, COCO_PANOPTIC, ["bbox", "segm", "sem_seg", "panoptic_seg"]),
        (PANOPTIC, COCO, ["bbox", "segm"]),
        (SEMANTIC, "cityscapes_fine_sem_seg_val", ["sem_seg"]),
        (FASTER, "voc_2007_val", ["bbox"]),
    ],
)
def test_a_task_is_one_that_the_evaluation_has(config, test, known):
    for task in known:
        check(config, task, test)
    message = refusal(check, config, "nosuch", test)
    assert message.startswith("TEST.EXPECTED_RESULTS ['nosuch', 'AP', 99, 1]: there will be no ")
    assert message.endswith(f" on {test} gives {', '.join(known)}")


def test_a_task_that_is_misspelt_or_of_another_detector():
    assert refusal(check, MASK, "sgem", COCO).endswith("; did you mean segm?")
    assert "Faster R-CNN on coco_2017_val gives bbox" in refusal(check, FASTER, "segm", COCO)


def test_test_time_augmentation_has_results_of_its_own():
    check(FASTER, "bbox_TTA", COCO, more=["TEST.AUG.ENABLED", "True"])
    assert "gives bbox; did you mean bbox?" in refusal(check, FASTER, "bbox_TTA", COCO)


@pytest.mark.parametrize("tests", [(), (COCO, "coco_2017_val_100")])
def test_expected_results_are_of_one_test_set(tests):
    message = refusal(check, FASTER, "bbox", *tests)
    assert f"with {len(tests)} test sets: expected results are of one" in message


def test_nothing_is_trained_where_no_result_can_be_as_expected(coco, tmp_path):
    expected = ["TEST.EXPECTED_RESULTS", "[['nosuch', 'AP', 99, 1]]"]
    outcome = train_net(*words(coco, tmp_path / "out", *expected))
    assert outcome.code == 2 and outcome.err.count("error: ") == 1
    assert "there will be no results of 'nosuch'" in outcome.err
    assert not list((tmp_path / "out").glob("*.pth"))


@pytest.mark.parametrize(
    ("metric", "actual", "shown"),
    [("AP", 5.0, "5.0"), ("AP", math.nan, "nan"), ("AP60", 5.0, "None")],
)
def test_a_result_that_is_not_reached_is_one_line(metric, actual, shown, capfd):
    rows = f"[['bbox', '{metric}', 99, 1], ['bbox', 'AP50', 7, 0.5]]"
    run = load_run(FASTER, ["TEST.EXPECTED_RESULTS", rows])
    results = {"bbox": {"AP": actual, "AP50": 7.25}}
    with pytest.raises(SystemExit) as end:
        verify_expected(run, results)
    said = f"error: TEST.EXPECTED_RESULTS: bbox {metric} is {shown}, not 99 (tolerance 1)\n"
    assert end.value.code == 1 and capfd.readouterr().err == said
    verify_expected(run, {"bbox": {metric: 98.5, "AP50": 7.25}})
    assert capfd.readouterr().err == ""


def test_a_training_whose_result_is_not_reached_ends_with_status_1(coco, tmp_path):
    expected = ["TEST.EXPECTED_RESULTS", "[['bbox', 'AP', 99, 1]]"]
    outcome = train_net(*words(coco, tmp_path / "out", *expected))
    assert outcome.code == 1
    assert "error: TEST.EXPECTED_RESULTS: bbox AP is " in outcome.err
