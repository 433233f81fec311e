"""docs/as-published.md: its table of rules beside the rules and the overlays."""

import re
from dataclasses import fields
from functools import cache

import pytest
from helpers.tiny import REPO

from hrnet_det import model_zoo
from hrnet_det.config.yaml import flat
from hrnet_det.modeling.compat.conventions import CONVENTIONS
from hrnet_det.modeling.compat.training_rules import TrainingRules

BEFORE = {"mmdet": "detectron2", "hrnet_object_detection": "mmdet"}
RULES = {field.name for field in fields(TrainingRules)}
CONFIGS = (
    "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x",
    "COCO-InstanceSegmentation/mask_rcnn_hrnetv2p_w18_1x",
    "COCO-Detection/cascade_rcnn_hrnetv2p_w18_20e",
    "COCO-InstanceSegmentation/cascade_mask_rcnn_hrnetv2p_w18_20e",
    "COCO-InstanceSegmentation/htc_hrnetv2p_w18_20e",
)
# Consequences of INPUT.RESIZE, of which conventions that differ in it may share some.
OF_RESIZING = ("semantic labels, bitmaps: the nearest pixel", "resizing before `INPUT.CROP_TRAIN`")
FCOS = ("COCO-Detection/fcos_hrnetv2p_w18_1x",)


def table():
    """{rule: (cells by convention, names in the last cell)}."""
    text = (REPO / "docs" / "as-published.md").read_text()
    section = text.partition("\n## Rules of training\n")[2].partition("\n## ")[0]
    title, _, *lines = re.findall(r"^\|.*\|$", section, re.MULTILINE)
    titles = re.findall(r"`(\w+)`", title)
    assert titles == list(CONVENTIONS)
    found = {}
    for line in lines:
        rule, *cells, last = [cell.strip() for cell in line.strip("|").split("|")]
        found[rule] = (dict(zip(titles, cells, strict=True)), re.findall(r"`([\w.]+)`", last))
    return found


@cache
def values(config, name):
    return flat(model_zoo.get_config(config, ["MODEL.CONVENTIONS", name]))


def value(key, name, configs):
    """What a name of the last column is in a convention: of all detectors, or of FCOS."""
    conventions = CONVENTIONS[name]
    if key in RULES:
        return getattr(conventions.training, key)
    if key.startswith("Conventions."):
        return getattr(conventions, key.partition(".")[2])
    found = [values(config, name) for config in configs]
    keys = [known for known in found[0] if known == key or known.endswith(f".{key}")]
    assert keys, key
    return [[of[known] for known in keys] for of in found]


def test_every_rule_has_a_row():
    assert {name for _, names in table().values() for name in names} >= RULES


@pytest.mark.parametrize("rule", [rule for rule in table() if rule not in OF_RESIZING])
def test_conventions_that_are_as_others(rule):
    cells, names = table()[rule]
    configs = FCOS if rule.startswith("FCOS") else CONFIGS
    for name, cell in cells.items():
        other = re.fullmatch(r"as `(\w+)`", cell)
        if other:
            for key in names:
                assert value(key, name, configs) == value(key, other[1], configs), key
        elif name in BEFORE and cell not in ("the same", cells[BEFORE[name]]):
            before = BEFORE[name]  # another text is another rule
            assert any(value(k, name, configs) != value(k, before, configs) for k in names), name


def test_r_cnns_of_maskrcnn_benchmark_train_by_detectron2s_rules():
    rules = CONVENTIONS["maskrcnn_benchmark"].training
    assert rules == TrainingRules()
