"""Other networks that a benchmark can be told to measure beside ours, as they are shipped."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from detectron2 import model_zoo
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from torch import Tensor, nn

from hrnet_det.analysis.models import images_for
from hrnet_det.errors import InputError

# Configs of Detectron2's model zoo: Faster R-CNN on a ResNet with its pyramid.
AGAINST = {"resnet50_fpn": "COCO-Detection/faster_rcnn_R_50_FPN_1x.yaml"}


def check_against(names: Iterable[str]) -> None:
    """Raises: InputError if a name is none of AGAINST."""
    for name in names:
        if name not in AGAINST:
            raise InputError(f"benchmark: --against {name!r}; known: {', '.join(AGAINST)}")


def build_other(name: str, part: str, device: str) -> nn.Module:
    """A part of Detectron2's own detector, with random weights, in the form that it is shipped in.

    That is eager, in float32 and channels first, its norms with fixed statistics.

    Args:
        name: in AGAINST.
        part: "backbone", "pyramid" (with its backbone) or "detector".
    """
    torch.manual_seed(0)
    cfg = model_zoo.get_config(AGAINST[name])
    cfg.MODEL.DEVICE = "cpu"
    detector = build_model(cfg)
    whole = part == "detector"
    _calibrate(detector.backbone, images_for(detector) if whole else torch.randn(1, 3, 256, 256))
    detector.to(device)
    parts = {"detector": detector, "pyramid": detector.backbone}
    return parts.get(part, detector.backbone.bottom_up)


def _calibrate(backbone: nn.Module, images: Tensor) -> None:
    """Set the norms' statistics to those of images, as a trained network's are."""

    def measure(norm: FrozenBatchNorm2d, inputs: tuple[Tensor]) -> None:
        norm.running_var, norm.running_mean = torch.var_mean(inputs[0], dim=(0, 2, 3))

    norms = [m for m in backbone.modules() if isinstance(m, FrozenBatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    with torch.no_grad():
        backbone(images)
    for hook in hooks:
        hook.remove()
