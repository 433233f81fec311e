"""Small detectors with random weights that detect something, and their detections side by side."""

from functools import cache, partial

import torch
from detectron2.structures import Instances
from helpers.parity import distance
from helpers.tiny import TINY
from torch import nn

from hrnet_det import model_zoo

FASTER, MASK = "hrnetv2p_faster_rcnn.yaml", "hrnetv2p_mask_rcnn.yaml"
# A config of each kind of detector, and what it overrides.
KINDS = {
    "faster": ("quickstart/faster_rcnn.yaml", []),
    "mask": ("quickstart/mask_rcnn.yaml", []),
    "keypoint": ("quickstart/keypoint_rcnn.yaml", []),
    "retinanet": ("Base-RetinaNet-HRNetV2p.yaml", ["MODEL.RETINANET.NUM_CLASSES", "3"]),
    "fcos": ("Base-FCOS-HRNetV2p.yaml", ["MODEL.FCOS.NUM_CLASSES", "3"]),
    "cascade mask": ("Base-Cascade-RCNN-HRNetV2p.yaml", ["MODEL.MASK_ON", "True"]),
    "panoptic": (
        "Base-Panoptic-FPN-HRNetV2p.yaml",
        ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "4", "MODEL.SEM_SEG_HEAD.CONVS_DIM", "32"],
    ),
    "one level": (
        "Base-RCNN-HRNetV1.yaml",
        ["MODEL.ANCHOR_GENERATOR.SIZES", "[[12, 24, 36, 48, 64]]"],
    ),
    "htc": ("quickstart/htc.yaml", ["MODEL.ROI_MASK_HEAD.NUM_CONV", "2"]),
    "mmdet": (MASK, ["MODEL.CONVENTIONS", "mmdet"]),
    "hrnet_object_detection": (FASTER, ["MODEL.CONVENTIONS", "hrnet_object_detection"]),
}
# MODEL.ROI_HEADS.NAME by the names of known_config; StandardROIHeads of the others.
HEADS = {
    "cascade_rcnn": "ResamplingCascadeROIHeads",
    "cascade_mask_rcnn": "ResamplingCascadeROIHeads",
    "htc": "HTCROIHeads",
}
# MODEL.META_ARCHITECTURE by the same names, GeneralizedRCNN of the others; and the class that
# stands for it where other conventions are followed, CompatRCNN of the others.
ARCHITECTURES = {"htc": "HTC", "fcos": "FCOS"}
COMPAT = {"htc": "CompatHTC", "fcos": "FCOS"}
OWN = ["MODEL.HRFPN.OUT_CHANNELS", "64", "MODEL.ROI_HEADS.NUM_CLASSES", "3",
       "MODEL.RPN.CONV_DIMS", "[64]"]  # fmt: skip
# Deviation of the outputs that boxes are decoded from; 1 of all others.
DEVIATIONS = {"anchor_deltas": 0.3, "bbox_pred": 0.5}
_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def has_masks(kind):
    """Of a name of known_config."""
    return "mask" in kind or kind == "htc"


@cache
def config(kind, *overrides):
    """Not to be changed: it is made once."""
    name, own = KINDS[kind]
    return model_zoo.get_config(name, [*TINY, *OWN, *own, *overrides])


def detector(kind, *overrides):
    """In evaluation mode, the same weights in every call."""
    model = model_zoo.build_detector(config(kind, *overrides)).eval()
    model.load_state_dict(_weights(kind))
    return model


@cache
def _weights(kind):
    torch.manual_seed(0)
    model = model_zoo.build_detector(config(kind)).eval()
    calibrate(model, lambda: model(rows()))
    return model.state_dict()


@torch.no_grad()
def calibrate(model, run):
    """Norm statistics that are an image's, other norm weights, and outputs that are spread out.

    Random weights as they are would make activations that explode, or scores all alike.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.train()
        norm.momentum = 1.0  # the running statistics become this batch's
    hooks = {}
    for name, layer in model.named_modules():
        if isinstance(layer, _LAYERS) and not name.startswith("backbone.bottom_up."):
            deviation = DEVIATIONS.get(name.rsplit(".", 1)[-1], 1.0)
            hooks[name] = layer.register_forward_hook(partial(_spread, hooks, name, deviation))
    run()
    assert not hooks, f"not reached: {list(hooks)}"
    for norm in norms:
        norm.eval()
        norm.momentum = 0.1


def _spread(hooks, name, deviation, layer, _, output):
    """In its first call a layer gets the scale and bias that its outputs are to have."""
    hooks.pop(name).remove()
    scale = deviation / output.std().clamp(min=1e-6)
    layer.weight *= scale
    if layer.bias is None:
        return output * scale
    shape = (1, -1, *[1] * (output.dim() - 2))
    without = output - layer.bias.view(shape)
    nn.init.normal_(layer.bias, std=deviation / 2)
    return without * scale + layer.bias.view(shape)


def rows(device="cpu"):
    """Two images of different sizes, whose originals are larger and smaller."""
    generator = torch.Generator().manual_seed(3)
    sizes = ((64, 96, 128, 192), (80, 72, 40, 36))
    return [
        {"image": _image(h, w, generator).to(device), "height": height, "width": width}
        for h, w, height, width in sizes
    ]


def _image(height, width, generator):
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator) * 255
    fine = nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return (fine[0] + 20 * torch.randn(3, height, width, generator=generator)).clamp(0, 255)


@torch.no_grad()
def detect(model, images=None):
    """The Instances of each image, on the CPU."""
    return [row["instances"].to("cpu") for row in model(images or rows())]


def assert_same(found: Instances, expected: Instances, *, pixels=1e-2, scores=1e-4, masks=0.005):
    """Equally many detections, one to one."""
    assert found.image_size == expected.image_size
    assert set(found.get_fields()) == set(expected.get_fields())
    assert len(found) == len(expected)
    if not len(found):
        return
    theirs, ours = ((x.pred_boxes.tensor, x.scores, x.pred_classes) for x in (expected, found))
    apart = distance(ours, theirs)
    assert apart.boxes <= pixels and apart.scores <= scores
    if expected.has("pred_masks"):
        differing = found.pred_masks != expected.pred_masks[apart.order]
        assert expected.pred_masks.any() and differing.float().mean() <= masks
    if expected.has("pred_keypoints"):
        theirs = expected.pred_keypoints[apart.order]
        differing = (found.pred_keypoints - theirs).abs()
        assert differing[..., :2].max() <= 10 * pixels and differing[..., 2].max() <= 100 * scores
