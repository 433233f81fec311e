"""Files of random weights as other code bases write them, and their detectors."""

import functools

import numpy as np
import torch
from detectron2.modeling import build_model
from helpers.detectors import has_masks

from hrnet_det import Detector
from hrnet_det.checkpoint.io import read_weights
from hrnet_det.checkpoint.model_config import config_of, known_config
from hrnet_det.config import settings

KINDS = ("faster_rcnn", "mask_rcnn", "cascade_rcnn", "cascade_mask_rcnn", "htc", "fcos")


FIVE = ["ant", "bee", "cat", "dog", "eel"]


def own(kind, classes=5, channels=64, conventions="mmdet", words=()):
    """Random weights of a small detector, by our names, that detect something everywhere."""
    cfg = known_config(kind, conventions, [
        "MODEL.HRNET.VARIANT", "w18_small_v1", "MODEL.HRFPN.OUT_CHANNELS", str(channels),
        "MODEL.ROI_HEADS.NUM_CLASSES", str(classes), "MODEL.FCOS.NUM_CLASSES", str(classes),
        "MODEL.MASK_ON", str(has_masks(kind)), "MODEL.DEVICE", "cpu", *words,
    ])  # fmt: skip
    torch.manual_seed(0)
    model = build_model(cfg)
    if kind == "fcos":
        torch.nn.init.zeros_(model.head.cls_score.bias)
    return model.state_dict()


def renamed(format, weights):
    return {format.to_theirs(name): tensor for name, tensor in weights.items()}


def small(path, **options):
    """The detector of a file, for images of 96 to 160 pixels."""
    run = config_of(read_weights(path))
    run[settings.MIN_SIZE_TEST], run[settings.MAX_SIZE_TEST] = 96, 160
    return Detector.from_pretrained(path, config=run, device="cpu", **options)


def stated(found, *keys, group="MODEL"):
    """Values of a detector's config."""
    return [functools.reduce(getattr, key.split("."), found.cfg[group]) for key in keys]


def image(height=60, width=100):
    """Noise that is finer than pixels of a resized image. (H, W, 3) uint8, RGB."""
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def same(found, expected):
    assert found.image_size == expected.image_size
    assert list(found.get_fields()) == list(expected.get_fields())
    for name, value in found.get_fields().items():
        other = expected.get(name)
        assert torch.equal(getattr(value, "tensor", value), getattr(other, "tensor", other)), name
    return len(found) > 0
