"""The values that the layers of other code bases' detectors start from."""

from __future__ import annotations

from torch import nn
from torch.nn.init import kaiming_normal_, xavier_uniform_, zeros_

from hrnet_det.modeling.backbone.hrfpn import HRFPN
from hrnet_det.modeling.roi_heads.cascade import StageMaskHeads

DETECTRON2, MMDET = "detectron2", "mmdet"


def set_initial_values(model: nn.Module, whose: str) -> None:
    """Draw the weights anew, in place, in which a code base differs from Detectron2.

    Source: `init_weights` of mmdetection 3.3's detectors. It does not reach the deconvolution and
    the predictor of a cascade's mask heads, which keep what PyTorch gives every layer.

    Args:
        model: a two-stage detector or an FCOS on HRNetV2p.
        whose: `TrainingRules.initial_values`.
    """
    if whose == DETECTRON2:
        return
    if isinstance(model.backbone, HRFPN):
        kaiming_normal_(model.backbone.reduction_conv.weight, mode="fan_out", nonlinearity="relu")
    heads = getattr(model, "roi_heads", None)
    if heads is None:  # those of FCOS start as Detectron2's
        return
    of_stages = heads.box_head if isinstance(heads.box_head, nn.ModuleList) else [heads.box_head]
    for box_head in of_stages:
        for layer in box_head.fcs:
            xavier_uniform_(layer.weight)
    mask_head = getattr(heads, "mask_head", None)
    if isinstance(mask_head, StageMaskHeads):
        for head in mask_head:
            head.deconv.reset_parameters()
            head.predictor.reset_parameters()
    elif mask_head is not None and hasattr(mask_head, "predictor"):
        kaiming_normal_(mask_head.predictor.weight, mode="fan_out", nonlinearity="relu")
        zeros_(mask_head.predictor.bias)
