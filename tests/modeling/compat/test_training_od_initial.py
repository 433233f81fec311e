"""The values that detectors of hrnet_object_detection start from, beside the source's."""

import math

import pytest
import torch

from hrnet_det import model_zoo
from hrnet_det.checkpoint.model_config import known_config

OPTIONS = """
MODEL.DEVICE cpu
MODEL.HRNET.VARIANT w18_small_v1
MODEL.HRFPN.OUT_CHANNELS 128
MODEL.ROI_BOX_HEAD.FC_DIM 128
MODEL.ROI_MASK_HEAD.CONV_DIM 128
MODEL.ROI_HEADS.NUM_CLASSES 40
"""
SEMANTIC = "MODEL.SEM_SEG_HEAD.CONVS_DIM 128 MODEL.HTC.SEMANTIC_ON True"


def normal(fan_in, fan_out):
    return 0.01


def deltas(fan_in, fan_out):
    return 0.001


def inward(fan_in, fan_out):  # kaiming_normal_(a=1), of a fan in
    return 1 / math.sqrt(fan_in)


def outward(fan_in, fan_out):  # mmcv's kaiming_init
    return math.sqrt(2 / fan_out)


def both_ways(fan_in, fan_out):  # xavier_uniform_
    return math.sqrt(2 / (fan_in + fan_out))


def pytorch(fan_in, fan_out):  # what no init_weights reaches
    return 1 / math.sqrt(3 * fan_in)


# Of our layers, by the end or a part of their names: the deviation and whether it is uniform.
LAYERS = {
    "backbone.reduction_conv": (inward, False),
    "backbone.fpn_convs": (inward, False),
    "proposal_generator.rpn_head": (normal, False),
    "box_head": (both_ways, True),
    "cls_score": (normal, False),
    "bbox_pred": (deltas, False),
    "mask_fcn": (outward, False),
    "conv_res": (outward, False),
    "deconv": (outward, False),
    "mask_head.predictor": (outward, False),
    "mask_head.0.predictor": (outward, False),
    "mask_head.2.predictor": (outward, False),
    "semantic_head.lateral_convs": (outward, False),
    "semantic_head.convs": (outward, False),
    "semantic_head.embedding": (outward, False),
    "semantic_head.predictor": (pytorch, True),
}


@pytest.mark.parametrize("kind", ["mask_rcnn", "htc"])
def test_initial_values(kind):
    options = OPTIONS.split() + (SEMANTIC.split() if kind == "htc" else [])
    torch.manual_seed(0)
    model = model_zoo.build_detector(known_config(kind, "hrnet_object_detection", options))
    seen = set()
    for name, weight in model.state_dict().items():
        part = next((part for part in reversed(LAYERS) if part in name), None)
        if part is None or not name.endswith(".weight"):
            continue
        seen.add(part)
        deviation, uniform = LAYERS[part]
        outputs, inputs, *sides = weight.shape
        cells = math.prod(sides)
        wanted = deviation(inputs * cells, outputs * cells)
        bias = model.state_dict()[name.removesuffix("weight") + "bias"]
        assert weight.std().item() == pytest.approx(wanted, rel=0.06), name
        assert (weight.abs().max() / wanted < 1.8) == uniform, name
        assert bias.any() == (deviation is pytorch), name
    missing = {part for part in LAYERS if part not in seen}
    if kind == "htc":
        assert missing == {"mask_head.predictor"}
    else:
        assert all("semantic" in part or "." in part or part == "conv_res" for part in missing)
