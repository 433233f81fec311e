"""Tables and texts of the report."""

import json
from pathlib import Path

import pytest
import torch

from hrnet_det.config.load import load_run
from hrnet_det.report import write_report
from hrnet_det.report.metrics import by_test_set
from hrnet_det.report.tables import results_tables

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
BOX = dict(zip(METRICS, (36.24, 58.0, 39.96, 20.0, 38.0, 47.0), strict=True))
MASK = dict(zip(METRICS, (33.8, 55.5, 36.0, 14.0, 35.0, 50.0), strict=True))
NAN = float("nan")


def cells(table):
    """The words of each line that has any."""
    return [line.split() for line in table.splitlines() if line.strip("- ")]


def test_one_test_set():
    results = {"bbox": BOX | {"AP-disc": 30.0, "AP-bar": 42.48}, "segm": MASK | {"AP-disc": 1.0}}
    assert cells(results_tables(results)) == [
        ["Results", "(percent)"],
        ["AP", "AP50", "AP75", "APs", "APm", "APl"],
        ["box", "36.2", "58.0", "40.0", "20.0", "38.0", "47.0"],
        ["mask", "33.8", "55.5", "36.0", "14.0", "35.0", "50.0"],
        ["class", "box", "AP", "mask", "AP"],
        ["disc", "30.0", "1.0"],
        ["bar", "42.5", "-"],
    ]


def test_a_class_without_objects_is_null_in_the_json(tmp_path):
    run = load_run("quickstart/mask_rcnn", ["OUTPUT_DIR", str(tmp_path), "DATASETS.TEST", "()"])
    results = {"bbox": BOX | {"AP-disc": NAN}}
    text = write_report(run, torch.nn.Identity(), results, mapper=None, weights=Path("w.pth"))
    written = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert written == {"bbox": BOX | {"AP-disc": None}}
    assert "results.json" in text


def test_several_test_sets():
    results = {"first_val": {"bbox": BOX}, "second_val": {"bbox": MASK, "keypoints": {"AP": 61.0}}}
    assert cells(results_tables(results)) == [
        ["Results", "first_val", "(percent)"],
        ["AP", "AP50", "AP75", "APs", "APm", "APl"],
        ["box", "36.2", "58.0", "40.0", "20.0", "38.0", "47.0"],
        ["Results", "second_val", "(percent)"],
        ["AP", "AP50", "AP75", "APs", "APm", "APl"],
        ["box", "33.8", "55.5", "36.0", "14.0", "35.0", "50.0"],
        ["keypoints", "61.0", "-", "-", "-", "-", "-"],
    ]


def test_test_time_augmentation_has_rows_and_columns_of_its_own():
    results = {"bbox": BOX | {"AP-disc": 3.0}, "bbox_TTA": BOX | {"AP": 37.0, "AP-disc": 4.0}}
    rows = cells(results_tables(results))
    assert [row[:2] for row in rows[2:4]] == [["box", "36.2"], ["box", "TTA"]]
    assert rows[3][2] == "37.0"
    assert rows[4:] == [["class", "box", "AP", "box", "TTA", "AP"], ["disc", "3.0", "4.0"]]
    # of several test sets, Trainer.test gives each its augmented form
    several = {"a": {"bbox": BOX}, "b": {"bbox": BOX}, "a_TTA": {"bbox": BOX}}
    titles = [row[1] for row in cells(results_tables(several)) if row[0] == "Results"]
    assert titles == ["a", "b", "a_TTA"]


def test_a_class_without_objects():
    results = {"bbox": BOX | {"APl": NAN, "AP-disc": 100.0, "AP-absent": NAN}}
    rows = cells(results_tables(results))
    assert rows[2] == ["box", "36.2", "58.0", "40.0", "20.0", "38.0", "-"]
    assert rows[-3:-1] == [["disc", "100.0"], ["absent", "-"]]
    assert " ".join(rows[-1]) == "-: the test data has nothing of that class or size"


def test_ap_of_more_detections_than_cocos():
    results = {"bbox": BOX | {"maxDets": 300.0}, "segm": MASK | {"maxDets": 300.0}}
    assert (
        results_tables(results).splitlines()[-1] == "AP of box, mask: at 300 detections per image"
    )
    assert "maxDets" not in results_tables(results)
    assert "detections" not in results_tables({"bbox": BOX})


def test_metrics_of_a_users_own_task_are_no_test_sets():
    """Their names alone do not tell tasks from test sets."""
    results = {"bbox": BOX, "counting": {"error": 3.0}}
    assert cells(results_tables(results))[0] == ["Results", "(percent)"]
    assert by_test_set(results, "mine") == {"mine": results}
    assert by_test_set({"a": {"counting": {"error": 3.0}}}) == {"a": {"counting": {"error": 3.0}}}
    assert by_test_set({}, "mine") == {}
