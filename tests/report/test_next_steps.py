"""What a run advises to type next, and the summary around it."""

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.report import write_report
from hrnet_det.report.summary import next_steps


def commands(run, weights="w.pth"):
    """The words of each command, by what it does."""
    lines = next_steps(run, Path(weights)).splitlines()
    assert lines[0] == "Next:"
    pairs = zip(lines[1::2], lines[2::2], strict=True)
    return {what.strip().removesuffix(":"): shlex.split(line) for what, line in pairs}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run that has ended in a folder with a space in its name; nothing of it is on the PATH."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "venv" / "bin"
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/python")
    run = load_run("quickstart/faster_rcnn", ["OUTPUT_DIR", "my runs"])
    Path("my runs").mkdir()
    Path("my runs", "config.yaml").touch()
    return run


def test_the_programs_are_those_of_the_environment(run, monkeypatch):
    evaluate = "evaluate again"
    assert commands(run)[evaluate][:2] == [os.path.join("venv", "bin", "hrnet-det"), "train"]
    Path("train_net.py").touch()  # in a checkout
    assert commands(run)[evaluate][:2] == [os.path.join("venv", "bin", "python"), "train_net.py"]
    folder = os.path.dirname(sys.executable)
    monkeypatch.setattr(shutil, "which", lambda name: os.path.join(folder, name))
    assert commands(run)[evaluate][:2] == ["python", "train_net.py"]
    assert commands(run)["curves in the browser"] == ["tensorboard", "--logdir", "my runs"]


def test_words_with_spaces_are_quoted(run):
    found = commands(run, "my runs/model_final.pth")
    weights = "my runs/model_final.pth"
    assert found["evaluate again"][2:] == ["--config-file", "my runs/config.yaml", "--eval-only",
                                           "MODEL.WEIGHTS", weights]  # fmt: skip
    assert found["objects in other images"][1:] == ["predict", weights, "image.jpg"]


def test_without_a_saved_config_the_one_that_was_given(run):
    Path("my runs", "config.yaml").unlink()
    assert commands(run)["evaluate again"][3].endswith("configs/quickstart/faster_rcnn.yaml")


def test_a_lazy_config_has_its_own_words(run):
    lazy = load_run("faster_rcnn_hrnetv2p_w18_1x.py", ["train.output_dir='my runs'"])
    assert commands(lazy)["evaluate again"][-1] == "train.init_checkpoint=w.pth"


@pytest.mark.parametrize(
    ("config", "predicts"),
    [("faster_rcnn", True), ("panoptic_fpn", True), ("semantic", False), ("rpn", False)],
)
def test_only_models_of_objects_predict(config, predicts):
    found = commands(load_run(f"quickstart/{config}"))
    assert ("objects in other images" in found) is predicts


def test_the_best_weights_are_named_by_their_metric(tmp_path, monkeypatch):
    monkeypatch.setattr("hrnet_det.report.summary.draw_predictions", lambda *_: None)
    (tmp_path / "model_best.pth").touch()
    run = load_run("quickstart/semantic")
    run[settings.OUTPUT_DIR] = str(tmp_path)
    text = write_report(run, torch.nn.Identity(), {}, mapper=dict, weights=Path("w.pth"))
    assert "model_best.pth          weights of the best sem_seg/mIoU\n" in text
