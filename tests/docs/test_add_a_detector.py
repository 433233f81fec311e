"""The page on adding a kind of detector, followed: what it shows is code that works."""

import re
from pathlib import Path

import pytest
import torch
from detectron2.modeling import ROI_HEADS_REGISTRY
from helpers.quickstart_kinds import BOXES, SMALL, image, loss

from hrnet_det.config import keys
from hrnet_det.config.files import config_folder
from hrnet_det.config.run_config import RunConfig
from hrnet_det.config.yaml import load_config
from hrnet_det.modeling import kinds
from hrnet_det.modeling.build_model import build_detector

PAGE = Path(__file__).resolve().parents[2] / "docs" / "add-a-detector.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
YAML = [text for language, text in BLOCKS if language == "yaml"]
MODULE, KEY, _, ROW, OWN_FILE = PYTHON
_, _, QUICKSTART = YAML


@pytest.fixture
def kind(monkeypatch):
    """The kind of the page, for the time of a test, in place of one that was added by it."""
    registered = {k: v for k, v in ROI_HEADS_REGISTRY._obj_map.items() if k != "GatedROIHeads"}
    monkeypatch.setattr(ROI_HEADS_REGISTRY, "_obj_map", registered)
    others = {k: v for k, v in kinds.KINDS.items() if k != "gated_rcnn"}
    monkeypatch.setattr(kinds, "KINDS", others)
    exec(compile(MODULE, "gated.py", "exec"), {"__name__": "gated"})
    return kinds.register_kind(eval(ROW, dict(vars(kinds))))


@pytest.fixture
def cfg(kind, tmp_path, monkeypatch):
    """The small config of the page, in a file of a user's own."""
    base = config_folder() / "quickstart" / "Base-quickstart.yaml"
    path = tmp_path / "gated_rcnn.yaml"
    path.write_text(QUICKSTART.replace("Base-quickstart.yaml", str(base)))
    monkeypatch.setattr(keys, "KEYS", dict(keys.KEYS))
    exec(KEY, {"KEYS": keys.KEYS})
    cfg = load_config(path, [*SMALL, "MODEL.ROI_HEADS.NUM_CLASSES", "2"])
    return cfg


def test_it_is_known_by_its_config_and_by_its_tensors(kind, cfg):
    model = build_detector(cfg)
    assert type(model.roi_heads).__name__ == "GatedROIHeads"
    assert kinds.kind_of(RunConfig(cfg)) is kind
    assert kinds.recognise_kind(model.state_dict()) is kind
    without = [name for name in model.state_dict() if ".gate." not in name]
    assert kinds.recognise_kind(without).name == "faster_rcnn"


def test_it_trains_and_predicts(cfg):
    model = build_detector(cfg)
    row = image(BOXES)
    loss(model.train(), [row]).backward()
    gate = model.roi_heads.box_head.gate
    assert gate.weight.grad.abs().sum() > 0
    assert gate.bias.tolist() == [2.0] * 32
    with torch.no_grad():
        (found,) = model.eval()([row])
    assert found["instances"].image_size == row["image"].shape[1:]


def test_a_row_in_a_file_of_your_own(monkeypatch):
    monkeypatch.setattr(kinds, "KINDS", dict(kinds.KINDS))
    exec(compile(OWN_FILE, "train_mine.py", "exec"), {"__name__": "train_mine"})
    assert kinds.find_kind("MyMetaArchitecture", "", masks=False, keypoints=False).name == "mine"
