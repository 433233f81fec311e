"""Runs that are kept, and the table of all kinds of detectors."""

import json
import subprocess

import pytest
from helpers.tiny import REPO, TINY, custom

from hrnet_det import model_zoo
from tools import matrix, runs
from tools.runs import Run


def test_a_finished_run_is_used_again_with_the_same_options_alone(tmp_path, monkeypatch, capsys):
    commands = []

    def finish(command):
        commands.append(command)
        (tmp_path / "run").mkdir(exist_ok=True)
        content = {"bbox": {"AP": 10.0 + len(commands)}}
        (tmp_path / "run" / "results.json").write_text(json.dumps(content))
        return 60.0, 2_000_000_000

    def train(*overrides):
        config, output = "quickstart/faster_rcnn.yaml", tmp_path / "run"
        return runs.train(config, seed=7, output=output, overrides=overrides)

    monkeypatch.setattr(runs, "_measured", finish)
    first = train("SOLVER.MAX_ITER", "5")
    assert first == Run({"bbox": {"AP": 11.0}}, 60.0, 2_000_000_000)
    assert train("SOLVER.MAX_ITER", "5") == first
    assert "is finished: its results are used again" in capsys.readouterr().out
    assert train().results == {"bbox": {"AP": 12.0}}  # other options: trained again
    assert len(commands) == 2
    end = ["SEED", "7", "OUTPUT_DIR", str(tmp_path / "run")]
    assert commands[0][-6:] == ["SOLVER.MAX_ITER", "5", *end]
    assert commands[1][-6:] == ["--config-file", "quickstart/faster_rcnn.yaml", *end]


def test_a_training_of_its_own_process_gives_its_results(coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # outside of the checkout, on a user's path
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    words = [*TINY, *custom(coco, "boxes.json"), "SOLVER.MAX_ITER", "1"]
    config = "quickstart/faster_rcnn.yaml"
    run = runs.train(config, seed=7, output=tmp_path / "run", overrides=words)
    assert set(run.results) == {"bbox"} and run.seconds > 0 and run.peak > 1e8
    assert "SEED: 7" in (tmp_path / "run" / "config.yaml").read_text()


def test_a_process_is_measured_and_its_failure_is_not_taken_for_a_result():
    held = b"1" * 10**9  # of this process, which is not the other's
    seconds, peak = runs._measured(["python3", "-c", "x = b'1' * 10**8"])
    assert seconds > 0 and 1e8 < peak < 2e8
    assert len(held) == 10**9
    with pytest.raises(subprocess.CalledProcessError):
        runs._measured(["python3", "-c", "raise SystemExit(3)"])


def test_the_matrix_has_every_kind_of_detector_and_a_column_for_each_metric():
    both = {"bbox": {"AP": 50.04}, "segm": {"AP": 40.0}, "panoptic_seg": {"PQ": 30.0}}
    table = matrix.matrix_table(
        {
            "quickstart/panoptic_fpn.yaml": Run(both, 90.0, 1_500_000_000),
            "quickstart/rpn.yaml": Run({"box_proposals": {"AR@100": 7.0}}, 30.0, 10**9),
        }
    )
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert rows[0] == ["config", *matrix.METRICS, "minutes", "peak GB"]
    link = "[panoptic_fpn](../configs/quickstart/panoptic_fpn.yaml)"
    assert rows[2] == [link, "50.0", "40.0", "-", "-", "-", "30.0", "1.5", "1.5"]
    assert rows[3][1:] == ["-", "-", "-", "7.0", "-", "-", "0.5", "1.0"]
    kinds = {model_zoo.get_config(name).MODEL.META_ARCHITECTURE for name in matrix.matrix_configs()}
    assert kinds >= {"GeneralizedRCNN", "ProposalNetwork", "RetinaNet", "FCOS", "PanopticFPN"}
    assert "SemanticSegmentor" in kinds
