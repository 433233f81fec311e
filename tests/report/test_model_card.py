"""The text of model_card.md."""

import re

import pytest
import torch
import yaml

import hrnet_det
from hrnet_det.config import settings
from hrnet_det.config.load import load_run
from hrnet_det.report.model_card import model_card

METADATA = {"title": "A detector", "classes": ["a|b", "c"], "iterations": 50}
FILE = "model_final.safetensors"


def card(config="quickstart/faster_rcnn", results=None, words=(), **metadata):
    return model_card(load_run(config, list(words)), FILE, METADATA | metadata, results or {})


def facts(text):
    """The rows of its table."""
    return dict(re.findall(r"^\| (.+?) \| (.+) \|$", text, re.MULTILINE))


def test_what_is_known_stands_in_a_table():
    text = card(
        words=["SOLVER.EMA_DECAY", "0.999", "MODEL.WEIGHTS", "timm://hrnet_w18.ms_in1k"],
        data={"images": 12, "objects": 34},
        conventions="detectron2",
        pixels={"format": "BGR", "range": [0, 4095]},
    )
    assert facts(text) == {
        "classes": "2: a\\|b, c",
        "trained on": "quickstart_train: 12 images, 34 objects",
        "training": "50 iterations of 4 images, from timm://hrnet_w18.ms_in1k",
        "weights": "their moving average (EMA, decay 0.999)",
        "conventions": "detectron2",
        "pixels": "format BGR, range [0, 4095]",
        "made with": f"hrnet_det {hrnet_det.__version__}, torch {torch.__version__}",
    }
    assert "It has not been evaluated." in text and "## Results" not in text


def test_a_published_recipe_is_named():
    config, words = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x", ["SOLVER.RECIPE", "mmdet"]
    found = facts(card(config, words=words, conventions="mmdet"))
    assert (found["recipe"], found["conventions"]) == ("mmdet", "mmdet")


def test_what_is_not_known_has_no_row():
    found = facts(card(classes=[str(number) for number in range(40)]))
    assert list(found) == ["classes", "trained on", "training", "made with"]
    assert found["classes"] == f"40: {', '.join(map(str, range(30)))}, ..."
    assert found["training"].endswith(", from random weights")


@pytest.mark.parametrize(
    ("config", "task", "tag"),
    [
        ("quickstart/faster_rcnn", "object-detection", "faster_rcnn"),
        ("Base-Panoptic-FPN-HRNetV2p", "image-segmentation", "panoptic_fpn"),
        ("COCO-Detection/fcos_hrnetv2p_w18_1x.py", "object-detection", "fcos"),
    ],
)
def test_the_front_matter_is_what_hubs_read(config, task, tag):
    start, matter, _ = card(config).split("---\n", 2)
    assert start == ""
    assert yaml.safe_load(matter) == {
        "library_name": "hrnet_det",
        "pipeline_tag": task,
        "tags": ["detectron2", "hrnet", tag],
    }


def test_results_and_how_it_is_used():
    text = card(results={"bbox": {"AP": 41.26, "AP50": 60.0}})
    assert "## Results on quickstart_val" in text and "41.3" in text
    assert f"hrnet-det predict {FILE} image.jpg" in text
    semantic = load_run("Base-SemanticSegmentation-HRNetV2", [])
    used = model_card(semantic, FILE, METADATA, {})
    assert f"--eval-only {' '.join(semantic.words(settings.WEIGHTS, FILE))}" in used
    assert "predict" not in used
