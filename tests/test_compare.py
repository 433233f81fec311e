"""The comparison's table, and what it runs."""

import json

import pytest

from hrnet_det import model_zoo
from hrnet_det.engine import compare


def metrics(ap, small):
    return {"AP": ap, "AP50": 2 * ap, "APs": small, "APm": ap, "APl": ap}


def test_the_table_has_the_mean_and_each_seed():
    runs = {"ours": [metrics(10.0, 1.0), metrics(20.0, 3.05)], "theirs": [metrics(5.0, 0.0)] * 2}
    lines = compare.comparison_table(runs, {"ours": 4_200_000, "theirs": 14_060_000}).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert rows[0] == ["detector", "parameters", *(f"box {m}" for m in compare.METRICS)]
    assert rows[2][:3] == ["ours", "4.2 M", "**15.0** (10.0, 20.0)"]
    assert rows[2][4] == "**2.0** (1.0, 3.0)"
    assert rows[3][:3] == ["theirs", "14.1 M", "**5.0** (5.0, 5.0)"]


def test_a_finished_run_is_read_and_not_run_again(tmp_path, monkeypatch):
    commands = []

    def finish(command, **_):
        commands.append(command)
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({"bbox": metrics(30.0, 12.0)}))

    monkeypatch.setattr(compare.subprocess, "run", finish)
    for _ in range(2):
        result = compare.train(
            "quickstart/faster_rcnn.yaml",
            seed=7,
            output=tmp_path / "run",
            overrides=["SOLVER.MAX_ITER", "5"],
        )
        assert result["APs"] == 12.0
    assert len(commands) == 1
    assert commands[0][-6:] == [
        "SOLVER.MAX_ITER", "5", "SEED", "7", "OUTPUT_DIR", str(tmp_path / "run")
    ]  # fmt: skip


def test_the_two_configs_differ_in_the_backbone_alone():
    ours, theirs = (model_zoo.get_config(config) for config in compare.DETECTORS.values())
    assert ours.MODEL.HRFPN.OUT_CHANNELS == theirs.MODEL.FPN.OUT_CHANNELS
    for cfg in (ours, theirs):
        cfg.OUTPUT_DIR = ""
        for key in ("BACKBONE", "RESNETS", "FPN"):
            del cfg.MODEL[key]
    assert ours == theirs


@pytest.mark.parametrize("config", compare.DETECTORS.values())
def test_their_parameters_are_of_one_order_of_magnitude(config):
    millions = sum(p.numel() for p in model_zoo.get(config).parameters()) / 1e6
    assert 3 < millions < 30
