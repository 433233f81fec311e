"""Counted parameters and multiply-adds against the published ones, and against the docs."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.analysis.cases import macs
from tools.complexity import (
    PUBLISHED,
    PUBLISHED_PROPOSALS,
    complexity,
    complexity_table,
    on_meta,
)

PAGE = Path(__file__).parents[2] / "docs" / "measurements.md"


def test_macs_of_a_convolution_and_a_linear_layer_are_those_counted_by_hand():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten())
    net = nn.Sequential(*net, nn.Linear(8 * 4 * 5, 7)).eval()
    assert macs(net, torch.zeros(2, 3, 4, 5)) == 2 * (4 * 5 * 8 * 3 * 9 + 8 * 4 * 5 * 7)


@pytest.fixture(scope="module")
def w18():
    cfg = model_zoo.get_config("COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.yaml")
    return complexity(on_meta(cfg), proposals=PUBLISHED_PROPOSALS)


def test_what_the_heads_of_a_mask_r_cnn_cost_by_hand():
    """Beside a Faster R-CNN: 100 boxes through four 3x3 convolutions, an upsampling, a 1x1."""
    names = ("hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml")
    faster, mask = (complexity(on_meta(model_zoo.get_config(name))) for name in names)
    convolutions = 4 * 14 * 14 * 256 * 256 * 9
    upsampling, classes = 28 * 28 * 256 * 256, 28 * 28 * 256 * 80
    assert mask.run_form - faster.run_form == 100 * (convolutions + upsampling + classes)


def test_a_cascade_has_three_box_heads():
    cascade = complexity(on_meta(model_zoo.get_config("cascade_rcnn_hrnetv2p_w32_20e")))
    faster = complexity(on_meta(model_zoo.get_config("hrnetv2p_faster_rcnn.yaml")))
    head = 256 * 7 * 7 * 1024 + 1024 * 1024 + 1024 * 81
    assert cascade.run_form - faster.run_form == 1000 * (2 * head + 1024 * (3 * 4 - 80 * 4))


def test_dense_and_semantic_heads_are_counted():
    for name in (
        "retinanet_hrnetv2p_w18_1x",
        "fcos_hrnetv2p_w18_1x",
        "panoptic_fpn_hrnetv2p_w18_1x",
    ):
        model = on_meta(model_zoo.get_config(name))
        backbone = macs(model.backbone, torch.zeros(1, 3, 128, 128, device="meta"))
        assert complexity(model, size=(128, 128), proposals=1, detections=1).run_form > backbone
    model = on_meta(model_zoo.get_config("semantic_hrnetv2_w40"))
    backbone = macs(model.backbone, torch.zeros(1, 3, 128, 128, device="meta"))
    counted = complexity(model, size=(128, 128))
    assert counted.run_form - backbone == 32 * 32 * (600 * 600 + 600 * 19)
    assert counted.parameters / 1e6 == pytest.approx(45.9, abs=0.05)


def test_faster_w18_is_as_large_and_as_costly_as_published(w18):
    parameters, gflops = PUBLISHED["w18"]
    assert w18.parameters / 2**20 == pytest.approx(parameters, rel=0.02)
    assert w18.published_form / 2**30 == pytest.approx(gflops, rel=0.02)
    # what the commuted reduction saves, by hand: (1 - 1/4^b) of branch b at stride 4
    cells = 200 * 304
    saved = cells * 256 * 18 * (2 * 3 / 4 + 4 * 15 / 16 + 8 * 63 / 64)
    assert w18.published_form - w18.run_form == saved


def test_the_documentation_shows_what_is_counted(w18):
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith("| Faster W18 |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [
        f"{w18.parameters:,}",
        f"{w18.parameters / 2**20:.1f}",
        "26.2",
        f"{w18.published_form / 2**30:.1f}",
        "159.1",
        f"{w18.run_form / 1e9:.1f}",
    ]


def test_the_table_of_the_documentation_is_the_one_that_the_command_prints():
    printed = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in complexity_table().splitlines()
    ]
    shown = [[c.strip() for c in r.strip("|").split("|")] for r in PAGE.read_text().splitlines()]
    for row in [printed[0], *printed[2:]]:
        assert row in shown
    for row in printed[2:]:
        parameters, gflops = PUBLISHED[row[0].split()[1].lower()]
        assert float(row[2]) == pytest.approx(parameters, rel=0.02)
        assert float(row[4]) == pytest.approx(gflops, rel=0.02)
