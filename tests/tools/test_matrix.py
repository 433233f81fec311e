"""Runs that are kept, the table of all kinds of detectors, and that of the shipped configs."""

import json
import subprocess
from pathlib import Path

import pytest

from hrnet_det import model_zoo
from tools import matrix, runs
from tools import zoo_table as zoo
from tools.runs import Run

PAGE = Path(__file__).parents[2] / "docs" / "model-zoo.md"


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


@pytest.mark.parametrize(
    ("name", "header"),
    [
        (
            "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w32_2x.yaml",
            zoo.Header(
                "Mask R-CNN",
                "HRNetV2p-W32",
                "2x",
                {
                    "arXiv:1908.07919": "42.3/37.6",
                    "HRNet-Object-Detection": "42.1/37.6",
                    "mmdetection": "42.5/37.8",
                },
            ),
        ),
        (
            "COCO-Detection/rpn_hrnetv2p_w18_1x.yaml",
            zoo.Header("RPN alone", "HRNetV2p-W18", "1x", {}),
        ),
    ],
)
def test_a_config_says_what_it_is_and_what_is_published_of_it(name, header):
    assert zoo.read_header(name) == header


def test_the_documentation_has_the_table_of_the_configs_as_they_are():
    text = PAGE.read_text()
    shown = text.split(zoo.START)[1].split(zoo.END)[0].strip()
    assert shown == zoo.zoo_table(), "python -m tools.zoo_table --write docs/model-zoo.md"


def test_the_table_is_written_between_its_marks_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(zoo, "zoo_table", lambda: "| new |")
    page = tmp_path / "page.md"
    page.write_text(f"before\n{zoo.START}\n| old |\n{zoo.END}\nafter\n")
    zoo.write(page)
    assert page.read_text() == f"before\n{zoo.START}\n| new |\n{zoo.END}\nafter\n"
    page.write_text("no marks")
    with pytest.raises(zoo.InputError, match="must have one line"):
        zoo.write(page)
    assert page.read_text() == "no marks"
