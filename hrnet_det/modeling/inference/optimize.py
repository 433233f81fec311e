"""A trained model in a faster form that computes the same."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable

import torch
import torch.nn.functional as F
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.modeling.poolers import ROIPooler
from detectron2.modeling.proposal_generator.rpn import StandardRPNHead
from detectron2.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from torch import Tensor, nn

from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.blocks import BasicBlock, Bottleneck, ConvNorm
from hrnet_det.modeling.backbone.fused import (
    FusedConv2d,
    InferenceOnly,
    can_be_folded,
    folded,
    has_fixed_values,
)
from hrnet_det.modeling.backbone.hrfpn import HRFPN
from hrnet_det.modeling.backbone.hrnet import HRNet
from hrnet_det.modeling.backbone.hrnetv2 import resized
from hrnet_det.modeling.inference.memory_format import use_channels_last
from hrnet_det.modeling.inference.openvino_form import (
    OpenVINOBackbone,
    check_openvino,
    computes,
)

logger = logging.getLogger("detectron2.hrnet_det")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ENGINES = ("torch", "openvino")

_PAIRS = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1"))
# Layers that compute in the chosen type, beside the convolutions that are fused.
_LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.GroupNorm)
_HEADS = (StandardRPNHead, FastRCNNOutputLayers)
# Of mask, keypoint and panoptic heads.
_LAST_LAYERS = ("predictor", "score_lowres", "center_predictor", "offset_predictor")


def optimize_for_inference(
    model: nn.Module,
    *,
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
    engine: str = "torch",
) -> nn.Module:
    """A copy of a backbone or of a whole detector that computes the same in less time.

    Norms are folded into their convolutions, shortcuts are computed within these (`FusedConv2d`),
    and everything is channels_last. What is not finite stays so, as in the plain form.

    Measured by `hrnet-det benchmark`; docs/speed.md has a table. Joining convolutions
    that read the same map, and adding a nearest-upsampled map by broadcasting, gained nothing.

    The copy runs on the device that the model is on. It can be neither trained nor saved: keep the
    model, which is not changed.

    Args:
        model: a Detectron2 detector, HRFPN, HRNet, ...
        dtype: torch.float32, torch.bfloat16, or on a GPU torch.float16: of convolutions and linear
            layers. What RoIAlign samples, boxes and scores stay in single precision.
        compile: torch.compile makes the backbone, for images of any size, instead of oneDNN's
            fused convolutions. On a CPU it needs a C++ compiler, and it takes minutes.
        engine: what computes the backbone: "torch", or on a CPU "openvino", which takes less time
            (`OpenVINOBackbone`); the rest of a detector is torch's. One with group norms is torch's
            too, and a line says so.
    Raises: ValueError if the dtype cannot be computed in, the model is optimised already, its
        weights are not float32, or the engine is unknown, not installed, not for this device, or
        asked for with compile.
    """
    if is_optimized(model):
        raise ValueError("the model is optimised already: give the one that it was made from")
    if {p.dtype for p in model.parameters()} != {torch.float32}:
        raise ValueError("the model must have its weights in float32: give the one that trained")
    device = next(model.parameters()).device
    check_dtype(dtype, device)
    check_engine(engine, device, compile=compile)
    model = copy.deepcopy(model).eval().requires_grad_(False)
    backbone = getattr(model, "backbone", model)
    if engine == "openvino" and not computes(backbone):
        logger.warning(
            "engine openvino is not used: OpenVINO crashes at this backbone's group norms"
        )
        engine = "torch"
    if engine == "openvino":
        form = OpenVINOBackbone(backbone, dtype).eval()
        if backbone is model:
            return form
        model.backbone = None  # it is not for what follows
    use_channels_last(model)

    def fused(weight: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> FusedConv2d:
        return FusedConv2d(weight.to(dtype), bias, conv, onednn=not compile)

    for module in list(model.modules()):
        _fuse_children(module, fused)
    if dtype != torch.float32:
        _compute_in(model, dtype, device)
    if engine == "openvino":
        model.backbone = form
    if compile:
        backbone.compile(dynamic=True)
    return model


def is_optimized(model: nn.Module) -> bool:
    """Whether the model has come from optimize_for_inference."""
    return any(isinstance(module, InferenceOnly) for module in model.modules())


def check_dtype(dtype: torch.dtype, device: torch.device) -> None:
    """Raises: ValueError if models are not computed in this type on this device."""
    if dtype not in DTYPES.values():
        raise ValueError(f"{dtype} is none of {', '.join(DTYPES)}")
    if device.type != "cpu" or dtype == torch.float32:
        return
    if dtype == torch.float16:
        raise ValueError("float16 is for GPUs; on a CPU take bfloat16 or float32")
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise ValueError("this CPU has no instructions for bfloat16; take float32")


def check_engine(engine: str, device: torch.device, *, compile: bool = False) -> None:
    """Raises: InputError if no backbone is computed by this engine here, or not with compile."""
    if engine not in ENGINES:
        raise InputError(f"engine {engine!r}: must be one of {', '.join(ENGINES)}")
    if engine == "openvino":
        check_openvino(device)
        if compile:
            raise InputError("engine openvino has nothing for torch.compile: take one of the two")


def _fuse_children(module: nn.Module, fused: Callable[..., FusedConv2d]) -> None:
    """What `fused` makes, in the place of the module's own convolutions and what follows them."""
    children = dict(module.named_children())
    if isinstance(module, (BasicBlock, Bottleneck, ConvNorm, HRNet)):
        for name, norm in _PAIRS:
            if norm in children and can_be_folded(children[name], children[norm]):
                conv = children[name]
                setattr(module, name, fused(*folded(conv, children[norm]), conv))
                setattr(module, norm, nn.Identity())
        return
    if isinstance(module, HRFPN) and has_fixed_values(module.reduction_conv.norm):
        conv = module.reduction_conv
        weight, bias = folded(conv, conv.norm)
        first, *others = weight.split(module.channels, dim=1)
        parts = [fused(first, bias, conv), *(fused(part, None, conv) for part in others)]
        module.reduction_conv = FusedReduction(parts)
    for name, child in children.items():
        norm, activation = getattr(child, "norm", None), getattr(child, "activation", None)
        is_relu = activation in (F.relu, F.relu_) or isinstance(activation, nn.ReLU)
        if can_be_folded(child, norm) and (activation is None or is_relu):
            conv = fused(*folded(child, norm), child)
            conv.relu = is_relu
            setattr(module, name, conv)


class FusedReduction(nn.Module):
    """ReductionConv with a FusedConv2d for each branch. Input, output: as ReductionConv's.

    The convolution commutes with the upsampling. A branch of few channels is upsampled first, so
    that its convolution adds to the sum what would otherwise take passes over the largest map.
    """

    def __init__(self, parts: list[FusedConv2d]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, maps: list[Tensor]) -> Tensor:
        size, y = maps[0].shape[-2:], None
        for part, x in reversed(list(zip(self.parts, maps, strict=True))):
            if x.shape[1] > part.out_channels // 3:
                z = resized(part(x), size)
                y = z if y is None else y.add_(z)
            else:
                y = part(resized(x, size), add=y)
        return y


def _compute_in(model: nn.Module, dtype: torch.dtype, device: torch.device) -> None:
    """Cast the layers that are not fused, and what goes into and comes out of them."""
    for module in model.modules():
        if isinstance(module, _LAYERS):
            module.to(dtype)
            module.register_forward_pre_hook(lambda _, inputs: _cast(inputs, dtype))
        # torchvision's RoIAlign, a GPU's, would round boxes to the type of the features.
        if isinstance(module, ROIPooler) and device.type != "cpu":
            module.register_forward_pre_hook(lambda _, inputs: _cast(inputs, torch.float32))
    for layer in last_layers(model):
        layer.register_forward_hook(lambda _, __, output: _cast(output, torch.float32))


def last_layers(model: nn.Module) -> list[nn.Module]:
    """What gives the numbers that boxes, scores and masks are decoded from."""
    last = []
    for module in model.modules():
        last += [getattr(module, name, None) for name in _LAST_LAYERS]
        if isinstance(module, _HEADS):
            last.append(module)
        if isinstance(module, DenseDetector):
            last.append(module.head)
    return [layer for layer in last if isinstance(layer, nn.Module)]


def _cast(value: object, dtype: torch.dtype) -> object:
    """Tensors of floating numbers in a nest of lists and tuples, in another type."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(item, dtype) for item in value)
    return value
