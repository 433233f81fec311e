"""Convolutions with what is around them done in the same pass: norm and shortcut."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def can_be_folded(conv: nn.Module, norm: nn.Module | None) -> bool:
    """Whether norm(conv(x)) is, as they stand, one plain convolution."""
    plain = type(conv) in (nn.Conv2d, Conv2d) and conv.padding_mode == "zeros"
    watched = any(m._forward_hooks or m._forward_pre_hooks for m in (conv, norm) if m is not None)
    return plain and isinstance(conv.padding, tuple) and not watched and has_fixed_values(norm)


def has_fixed_values(norm: nn.Module | None) -> bool:
    """Whether the norm multiplies and adds the same, whatever comes in."""
    if isinstance(norm, _BatchNorm):
        return not norm.training and norm.running_mean is not None and norm.affine
    return norm is None or isinstance(norm, (FrozenBatchNorm2d, nn.Identity))


def folded(conv: nn.Conv2d, norm: nn.Module | None) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of the one convolution that is norm(conv(x)); they can be differentiated.

    Identity: with fixed statistics a norm is s * y + t per channel, and s * (w * x) = (s * w) * x.
    In training it spares the norm's passes and its input: W18 with its pyramid at 512x512 keeps
    360 MB instead of 614.
    """
    if norm is None or isinstance(norm, nn.Identity):
        return conv.weight, conv.bias
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    bias = norm.bias - norm.running_mean * scale
    if conv.bias is not None:
        bias = bias + conv.bias * scale
    return conv.weight * scale.view(-1, 1, 1, 1), bias


class InferenceOnly(nn.Module):
    """A part of a model that optimize_for_inference has made: neither trained, moved nor saved."""

    def _apply(self, *_: object, **__: object) -> Self:
        raise RuntimeError("optimize_for_inference: move or convert the model that it was given")

    def train(self, mode: bool = True) -> Self:
        if mode:
            raise RuntimeError("optimize_for_inference: train the model that it was given instead")
        return super().train(mode)

    def _save_to_state_dict(self, *_: object) -> None:
        raise RuntimeError(
            "a model made by optimize_for_inference cannot be saved; save its source"
        )

    def _load_from_state_dict(self, *_: object) -> None:
        raise RuntimeError("optimize_for_inference: load weights into the model that it is given")


class FusedConv2d(InferenceOnly):
    """ReLU(conv(x) + add), for inference; NaN stays NaN, as in the plain form.

    On a CPU it is oneDNN's convolution with the addition as its post-operation, which spares a pass
    over memory, and keeps a second copy of its weights (`_weight_for`). Elsewhere it is the plain
    convolution, with the addition done in place. oneDNN's own ReLU, which would spare another pass,
    turns NaN into 0: a network that has overflowed would go on detecting (W18 with its pyramid at
    512x512 takes 2 % longer without it).

    Args:
        weight, bias: of the convolution, a norm folded into them; it computes in weight's type.
        conv: the convolution that they are of, for its stride, padding, dilation and groups.
        onednn: use oneDNN's where the weights are on a CPU; torch.compile cannot improve on it.
    Input:  x (N, C, H, W). Output: (N, C_out, H', W'), channels_last, in weight's type.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, conv: nn.Conv2d, *, onednn: bool = True
    ) -> None:
        super().__init__()
        self.relu = False  # of a call that does not say
        self.geometry = [list(conv.stride), list(conv.padding), list(conv.dilation), conv.groups]
        self.out_channels = weight.shape[0]
        self.dtype = weight.dtype
        on_cpu = weight.device.type == "cpu"
        self.onednn = onednn and on_cpu and torch.backends.mkldnn.is_available()
        weight = weight.detach().contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self._size: torch.Size | None = None  # of the latest input
        self._ordered: Tensor | None = None  # the weight in oneDNN's order for that size
        self.register_buffer("bias", None if bias is None else bias.detach().to(self.dtype))

    def forward(self, x: Tensor, *, relu: bool | None = None, add: Tensor | None = None) -> Tensor:
        """ReLU(conv(x) + add); `add` (N, C_out, H', W') is overwritten."""
        relu = self.relu if relu is None else relu
        x = x.to(self.dtype)
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            y = self._plain(x, None if add is None else add.clone())
            return y.relu() if relu else y
        y = self._onednn(x, add) if self.onednn and len(x) else self._plain(x, add)
        return y.relu_() if relu else y

    def _plain(self, x: Tensor, add: Tensor | None) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, *self.geometry)
        return y if add is None else y.add_(add)

    def _onednn(self, x: Tensor, add: Tensor | None) -> Tensor:
        stride, padding, *others = self.geometry
        inputs = (x, self._weight_for(x), self.bias, padding, stride, *others)
        if add is None:
            return torch.ops.mkldnn._convolution_pointwise(*inputs, "none", [], "")
        rest = ("add", 1.0, None, [], "")
        return torch.ops.mkldnn._convolution_pointwise_.binary(add, *inputs, *rest)

    def _weight_for(self, x: Tensor) -> Tensor:
        """The weight; in oneDNN's order from an input of the same size as the one before on.

        oneDNN chooses the order by the size of the input, and weights in the order for another
        size are converted in every call, which is slower than anything gained.
        """
        size = x.shape
        if size != self._size:
            self._size, self._ordered = size, None
        elif self._ordered is None:
            stride, padding, *others = self.geometry
            self._ordered = torch.ops.mkldnn._reorder_convolution_weight(
                self.weight, padding, stride, *others, list(size)
            )
        return self.weight if self._ordered is None else self._ordered

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_size": None, "_ordered": None}  # which cannot be copied
