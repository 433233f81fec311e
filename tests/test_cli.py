"""The command `hrnet-det`."""

import re

import pytest

from hrnet_det import cli
from hrnet_det.arguments import build_parser


def test_train_hands_everything_on(monkeypatch):
    from hrnet_det.engine import train

    received = []
    monkeypatch.setattr(train, "main", received.append)
    assert cli.main(["train", "--config-file", "any.yaml", "--help"]) == 0
    assert received == [["--config-file", "any.yaml", "--help"]]


def test_tiles_are_those_of_a_detectors_call():
    """Their defaults are written twice, as --help needs no torch."""
    from hrnet_det.detector.tiles import MERGE, MERGES, OVERLAP

    asked = build_parser().parse_args(["predict", "model.pth", "a.png"])
    assert (asked.tile, asked.overlap, asked.merge) == (None, OVERLAP, MERGE)
    for merge in MERGES:
        words = ["predict", "--merge", merge, "model.pth", "a.png"]
        assert build_parser().parse_args(words).merge == merge


def test_configs_prints_the_names(capsys):
    assert cli.main(["configs"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert {"hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"} <= set(names)


def test_help_names_each_subcommand(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for command in ("doctor", "install-detectron2", "train", "configs"):
        assert re.search(rf"^    {command}\s", shown, re.MULTILINE), command
