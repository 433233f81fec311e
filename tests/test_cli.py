"""The command `hrnet-det`."""

import re

import pytest

from hrnet_det import cli


def test_train_hands_everything_on(monkeypatch):
    from hrnet_det.engine import train

    received = []
    monkeypatch.setattr(train, "main", received.append)
    assert cli.main(["train", "--config-file", "any.yaml", "--help"]) == 0
    assert received == [["--config-file", "any.yaml", "--help"]]


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
