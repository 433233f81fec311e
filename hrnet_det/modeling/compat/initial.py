"""The values that the layers of other code bases' detectors start from."""

from __future__ import annotations

from torch import nn
from torch.nn.init import kaiming_normal_, xavier_uniform_, zeros_

from hrnet_det.modeling.backbone.hrfpn import HRFPN
from hrnet_det.modeling.roi_heads.cascade import StageMaskHeads

DETECTRON2, MMDET, MMDET_1 = "detectron2", "mmdet", "mmdet_1"


def set_initial_values(model: nn.Module, whose: str) -> None:
    """Draw the weights anew, in place, in which a code base differs from Detectron2.

    Source: `init_weights` of mmdetection 3.3's detectors ("mmdet"), which does not reach the
    deconvolution and the predictor of a cascade's mask heads, and of HRNet-Object-Detection and
    mmdetection 1 ("mmdet_1"), which reaches these and not the semantic branch's logits. What they
    do not reach keeps what PyTorch gives every layer.

    Args:
        model: a two-stage detector, or an FCOS, whose head starts as Detectron2's.
        whose: `TrainingRules.initial_values`.
    """
    if whose == DETECTRON2:
        return
    if hasattr(model, "roi_heads"):
        _set_heads(model.roi_heads, whose)
    if isinstance(model.backbone, HRFPN):
        _set_pyramid(model.backbone, whose)


def _set_heads(heads: nn.Module, whose: str) -> None:
    of_stages = heads.box_head if isinstance(heads.box_head, nn.ModuleList) else [heads.box_head]
    for box_head in of_stages:
        for layer in box_head.fcs:
            xavier_uniform_(layer.weight)
    mask_head = getattr(heads, "mask_head", None)
    in_stages = isinstance(mask_head, StageMaskHeads)
    for head in mask_head if in_stages else [mask_head]:
        if in_stages and whose == MMDET:
            head.deconv.reset_parameters()
            head.predictor.reset_parameters()
        elif hasattr(head, "predictor"):
            kaiming_normal_(head.predictor.weight, mode="fan_out", nonlinearity="relu")
            zeros_(head.predictor.bias)
    semantic_head = getattr(heads, "semantic_head", None)
    if semantic_head is not None and whose == MMDET_1:
        semantic_head.predictor.reset_parameters()


def _set_pyramid(pyramid: HRFPN, whose: str) -> None:
    if whose == MMDET:
        kaiming_normal_(pyramid.reduction_conv.weight, mode="fan_out", nonlinearity="relu")
        return
    for layer in (pyramid.reduction_conv, *pyramid.fpn_convs):
        kaiming_normal_(layer.weight, a=1)
