"""Small Panoptic-DeepLabs with random weights that find something, and rows for them."""

import torch
from helpers.quickstart_kinds import BOXES, image
from torch import nn

from hrnet_det import model_zoo

CONFIG = "quickstart/panoptic_deeplab"
SMALL = """
MODEL.DEVICE cpu
MODEL.SEM_SEG_HEAD.CONVS_DIM 24
MODEL.SEM_SEG_HEAD.ASPP_CHANNELS 16
MODEL.SEM_SEG_HEAD.NUM_CLASSES 7
MODEL.INS_EMBED_HEAD.CONVS_DIM 24
MODEL.INS_EMBED_HEAD.ASPP_CHANNELS 16
MODEL.PANOPTIC_DEEPLAB.THING_CLASSES [0,1,2,3,4,5]
MODEL.PANOPTIC_DEEPLAB.STUFF_AREA 40
""".split()  # noqa: SIM905


def config(*words):
    return model_zoo.get_config(CONFIG, [*SMALL, *words])


def detector(*words):
    torch.manual_seed(0)
    return spread(model_zoo.build_detector(config(*words)))


def spread(model):
    """Predictions that differ from pixel to pixel, with many centres, of norms that fit."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.train()(rows())
    for norm in norms:
        norm.momentum = 0.1
    for head, deviation, bias in (
        (model.sem_seg_head.predictor, 1.0, 0.0),
        (model.ins_embed_head.center_predictor, 0.2, 0.1),
        (model.ins_embed_head.offset_predictor, 0.5, 0.0),
    ):
        nn.init.normal_(head.weight, std=deviation)
        nn.init.constant_(head.bias, bias)
    return model


def rows():
    """Two images of different sizes, with their targets."""
    small = {
        name: x[..., :64, :96] if name not in ("instances", "height", "width") else x
        for name, x in image(BOXES[:1]).items()
    }
    return [image(BOXES), small | {"height": 64, "width": 96}]
