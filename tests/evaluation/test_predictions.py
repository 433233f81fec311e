"""Where predictions of evaluations are, and that each is known to be of its dataset."""

import json
from pathlib import Path

import pytest
from detectron2.data import MetadataCatalog
from helpers.coco_results import random_data, registering
from helpers.evaluations import Kind, evaluate, run_in

from hrnet_det.engine.start import set_aside
from hrnet_det.evaluation.evaluators import build_evaluator
from hrnet_det.evaluation.predictions import (
    RECORD,
    RESULTS,
    augmented_run,
    predictions_folder,
    record_predictions,
    recorded_predictions,
)

TRUTH, ROWS = random_data(0, image_ids=(3, 6, 9))


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Two registered datasets."""
    with registering(tmp_path_factory.mktemp("predictions")) as register:
        yield register(TRUTH), register(TRUTH)


def written(folder):
    """{path: number of detections} of all files of results in a folder."""
    files = sorted(Path(folder).rglob(RESULTS))
    return {f.relative_to(folder).as_posix(): len(json.loads(f.read_text())) for f in files}


def test_one_test_set(names, tmp_path, monkeypatch):
    run = run_in(tmp_path, names[0])
    results = evaluate(run, TRUTH, {names[0]: ROWS}, monkeypatch)
    assert list(results) == ["bbox", "keypoints", "segm"]
    assert written(tmp_path) == {f"inference/{RESULTS}": len(ROWS)}
    recorded = recorded_predictions(run)
    assert list(recorded) == [names[0]]
    assert (recorded[names[0]].folder, recorded[names[0]].max_detections) == (
        tmp_path / "inference",
        100,
    )


def test_several_test_sets_with_test_time_augmentation(names, tmp_path, monkeypatch):
    first, second = names
    run = run_in(tmp_path, *names, augmented=True, most=300)
    rows = {first: ROWS, second: ROWS[:5]}
    results = evaluate(run, TRUTH, rows, monkeypatch)
    assert list(results) == [first, second, f"{first}_TTA", f"{second}_TTA"]
    assert written(tmp_path) == {
        f"inference/{first}/{RESULTS}": len(ROWS),
        f"inference/{second}/{RESULTS}": 5,
        f"TTA/inference/{first}/{RESULTS}": len(ROWS) - 1,
        f"TTA/inference/{second}/{RESULTS}": 4,
    }
    plain, augmented = recorded_predictions(run), recorded_predictions(augmented_run(run))
    assert plain[second].folder == tmp_path / "inference" / second
    assert augmented[second].folder == tmp_path / "TTA" / "inference" / second
    assert {value.max_detections for value in (*plain.values(), *augmented.values())} == {300}


def test_evaluators_of_a_users_trainer_are_asked_for_as_ever(names, tmp_path, monkeypatch):
    """Those with test-time augmentation by the same two arguments."""
    monkeypatch.setattr(Kind, "build_evaluator", lambda run, name: build_evaluator(run, name))
    run = run_in(tmp_path, names[0], augmented=True)
    results = evaluate(run, TRUTH, {names[0]: ROWS}, monkeypatch)
    assert {"bbox", "bbox_TTA"} <= results.keys()


def test_what_writes_no_detections_is_recorded_too(names, tmp_path):
    """So that a report knows what an evaluation was on."""
    run = run_in(tmp_path, "other_kind")
    record_predictions(run, "other_kind", max_detections=100)
    assert recorded_predictions(run) == {"other_kind": (tmp_path / "inference", "", 100)}
    MetadataCatalog.pop("other_kind")


def test_nothing_of_an_earlier_evaluation_stays(names, tmp_path, monkeypatch):
    first, second = names
    rows = {first: ROWS, second: ROWS[:5]}
    evaluate(run_in(tmp_path, *names, augmented=True), TRUTH, rows, monkeypatch)
    run = run_in(tmp_path, second)
    evaluate(run, TRUTH, rows, monkeypatch)
    assert written(tmp_path) == {f"inference/{RESULTS}": 5}
    assert list(recorded_predictions(run)) == [second]
    assert recorded_predictions(augmented_run(run)) == {}
    assert len(list(tmp_path.rglob(RECORD))) == 1


def test_a_new_training_has_no_predictions_yet(names, tmp_path, monkeypatch):
    run = run_in(tmp_path, names[0])
    evaluate(run, TRUTH, {names[0]: ROWS}, monkeypatch)
    set_aside(run)
    assert recorded_predictions(run) == {}


def test_an_evaluation_that_ends_early_leaves_none(names, tmp_path, monkeypatch):
    run = run_in(tmp_path, names[0])
    evaluate(run, TRUTH, {names[0]: ROWS}, monkeypatch)
    with pytest.raises(KeyError):
        evaluate(run, TRUTH, {}, monkeypatch)
    assert written(tmp_path) == recorded_predictions(run) == {}


def test_a_name_is_one_folder(tmp_path):
    run = run_in(tmp_path, "mine/val", "b")
    assert predictions_folder(run, "mine/val") == tmp_path / "inference" / "mine_val"
    assert predictions_folder(run_in(tmp_path, "b", "b"), "b") == tmp_path / "inference"
