"""A model's tensors in the order in memory that its operations are fastest in."""

from __future__ import annotations

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.roi_heads.keypoint_head import BaseKeypointRCNNHead
from torch import Tensor, nn

from hrnet_det.modeling.inference.roi_align import BagROIAlign


def use_channels_last(model: nn.Module) -> nn.Module:
    """Put a model's convolutions into channels_last and its RoIAligns into BagROIAlign's form.

    The layout of the weights decides that of all maps: an image need not be converted.

    Returns: the model, which is changed; parameters keep their names, shapes and values.
    """
    model.to(memory_format=torch.channels_last)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is ROIAlign:
                options = child.output_size, child.spatial_scale, child.sampling_ratio
                setattr(module, name, BagROIAlign(*options, child.aligned))
        if isinstance(module, BaseKeypointRCNNHead):  # Detectron2 views its heatmaps as rows
            module.score_lowres.register_forward_hook(_contiguous)
    return model


def _contiguous(_: nn.Module, __: tuple, output: Tensor) -> Tensor:
    return output.contiguous()
