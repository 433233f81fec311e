"""A backbone that OpenVINO computes on a CPU, behind the interface of the one it is made from."""

from __future__ import annotations

import functools
import importlib.util
import os
import threading
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import Tensor, nn

from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.fused import InferenceOnly
from hrnet_det.modeling.backbone.hrnet import HRNet

if TYPE_CHECKING:
    import openvino

MOST_SIZES = 4  # of networks for one size each; one takes some 0.2 GB for W18 at 800x1216
SLOPE = 2.0**-60  # below 0 of a ReLU that keeps NaN: far below the rounding of either type
HINTS = {torch.float32: "f32", torch.bfloat16: "bf16"}


def check_openvino(device: torch.device) -> None:
    """Raises: InputError if OpenVINO is not installed, or the device is not a CPU."""
    if device.type != "cpu":
        raise InputError(
            f"engine openvino computes on CPUs, and the device is {device}: take the CPU, or "
            "engine torch"
        )
    if importlib.util.find_spec("openvino") is None:
        raise InputError(
            "engine openvino needs the package openvino: pip install 'hrnet_det[openvino]', or "
            "take engine torch"
        )


_processes: set[int] = set()  # that have a core: this one, and those it was forked from


def core() -> openvino.Core:
    """The only core of this process, which stays to its end.

    A core of a CPU sets a stack for the signals of its thread, and takes it away when it ends,
    also where a later core has taken note of it: the thread would end with the next signal that it
    handles, such as that of a data worker's end.

    Raises: RuntimeError in a forked process: OpenVINO's threads are not in it, and waiting for them
        would not end.
    """
    check_process()
    _processes.add(os.getpid())
    return _core()


def check_process() -> None:
    """Raises: RuntimeError if OpenVINO was used in the process that this one was forked from."""
    if _processes - {os.getpid()}:
        raise RuntimeError(
            "OpenVINO has computed in the process that this one was forked from, and cannot in "
            "this one: start processes by spawn, or take engine torch"
        )


@functools.cache
def _core() -> openvino.Core:
    import openvino

    return openvino.Core()


def computes(backbone: nn.Module) -> bool:
    """Whether OpenVINO is trusted with a backbone: its group norms end some processes."""
    return not any(isinstance(module, nn.GroupNorm) for module in backbone.modules())


def compile_options(hint: str) -> dict[str, object]:
    """How OpenVINO computes on a CPU: by as many threads as torch.

    Args:
        hint: the type of layers, "f32" or "bf16".
    """
    return {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "ENABLE_CPU_PINNING": False,  # several processes would share the first cores
    }


class OpenVINOBackbone(InferenceOnly, Backbone):
    """A backbone in inference, computed by OpenVINO with as many threads as torch has.

    One network takes images of all sizes; a size that comes twice in succession gets one of its
    own, which takes as long to make as two or three images and is then faster. Of these the
    MOST_SIZES latest are kept. Calls of several threads wait for each other.

    A ReLU of OpenVINO turns NaN into 0: a network that has overflowed would go on detecting. Here
    its slope below 0 is SLOPE instead, which keeps NaN and adds less than any rounding; -inf stays
    -inf as well, where a ReLU says 0.

    Args:
        backbone: in evaluation mode; it is kept, for further sizes and for copies.
        dtype: torch.float32, which is float32 whatever the CPU prefers, or torch.bfloat16.
    Input:  images (N, 3, H, W), as the backbone takes them.
    Output: as the backbone's, of dtype, channels_last, without gradients.
    """

    def __init__(self, backbone: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self._plain = (backbone,)  # in a tuple: not a module of the model
        self.dtype = dtype
        self._networks = _Networks()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        (plain,) = self._plain
        if torch.jit.is_tracing() or torch.compiler.is_exporting():
            return plain(images)
        for module in plain.modules():
            if isinstance(module, HRNet):
                module.check_size(images)
        if not len(images):  # OpenVINO has no networks for none
            return {name: x.to(self.dtype) for name, x in plain(images).items()}
        images = images.detach().float().contiguous()
        with self._networks.lock, torch.no_grad():
            return self._networks.of(images, plain, self.dtype)(images)

    @property
    def size_divisibility(self) -> int:
        return self._plain[0].size_divisibility

    @property
    def padding_constraints(self) -> dict[str, int]:
        return self._plain[0].padding_constraints

    def output_shape(self) -> dict[str, ShapeSpec]:
        return self._plain[0].output_shape()

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_networks": None}  # which cannot be copied, but made again

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._networks = _Networks()


class _Networks:
    """What OpenVINO has compiled of a backbone, made where it is missing."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.threads = 0
        self.size: torch.Size | None = None  # of the latest images
        self.source: _Source | None = None
        self.of_any_size: _Network | None = None
        self.of_size: OrderedDict[torch.Size, _Network] = OrderedDict()

    def of(self, images: Tensor, plain: nn.Module, dtype: torch.dtype) -> _Network:
        """The network for images of this size.

        Raises: RuntimeError in a forked process: see `core`.
        """
        check_process()
        if torch.get_num_threads() != self.threads:
            self.threads, self.of_any_size = torch.get_num_threads(), None
            self.of_size.clear()
        size, again = images.shape, images.shape == self.size
        self.size = size
        if size in self.of_size:
            self.of_size.move_to_end(size)
            return self.of_size[size]
        if self.source is None:
            self.source = _traced(plain, images)
        if not again:
            if self.of_any_size is None:
                self.of_any_size = _Network(self.source, dtype)
            return self.of_any_size
        if len(self.of_size) == MOST_SIZES:
            self.of_size.popitem(last=False)
        self.of_size[size] = _Network(self.source, dtype, size)
        return self.of_size[size]


class _Source(NamedTuple):
    """A backbone as OpenVINO's model of images of any size, and the names of its outputs."""

    model: openvino.Model
    names: list[str]


class _Network:
    """A compiled model. Input: images (N, 3, H, W) float32; of `size`, where one is given."""

    def __init__(self, source: _Source, dtype: torch.dtype, size: torch.Size | None = None) -> None:
        model = _prepared(source.model, dtype)
        if size is not None:
            model.reshape(list(size))
        compiled = core().compile_model(model, "CPU", compile_options(HINTS[dtype]))
        self.request = compiled.create_infer_request()
        self.names, self.dtype = source.names, dtype
        self.shapes = None if size is None else [list(x.shape) for x in compiled.outputs]

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        import openvino

        self.request.set_input_tensor(openvino.Tensor(images.numpy(), shared_memory=True))
        maps = [torch.empty(shape, dtype=self.dtype) for shape in self.shapes or ()]
        for i, x in enumerate(maps):  # written without a copy
            self.request.set_output_tensor(i, _shared(x))
        self.request.infer()
        if self.shapes is None:
            maps = [self._copied(i) for i in range(len(self.names))]
        return {name: x.permute(0, 3, 1, 2) for name, x in zip(self.names, maps, strict=True)}

    def _copied(self, i: int) -> Tensor:
        given = self.request.get_output_tensor(i)
        x = torch.empty(list(given.shape), dtype=self.dtype)
        given.copy_to(_shared(x))
        return x


def _shared(x: Tensor) -> openvino.Tensor:
    """A tensor as OpenVINO's, in the same memory; numpy has no bfloat16."""
    import openvino

    if x.dtype == torch.bfloat16:
        return openvino.Tensor(x.view(torch.int16).numpy(), x.shape, openvino.Type.bf16)
    return openvino.Tensor(x.numpy(), shared_memory=True)


class _Maps(nn.Module):
    """A backbone whose output is a tuple, which can be traced."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.backbone(images).values())


def _traced(plain: nn.Module, images: Tensor) -> _Source:
    """For images of any size. Of these it takes the channels."""
    import openvino

    d = max(x.stride for x in plain.output_shape().values())
    example = images.new_zeros(1, images.shape[1], 2 * d, 3 * d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what tracing takes for constants, which are
        traced = torch.jit.trace(_Maps(plain), example, check_trace=False)
        return _Source(openvino.convert_model(traced), list(plain.output_shape()))


def _prepared(model: openvino.Model, dtype: torch.dtype) -> openvino.Model:
    """A copy whose ReLUs keep NaN, and whose outputs are (N, H, W, C) of dtype."""
    import numpy as np
    import openvino
    from openvino import opset13

    model = model.clone()
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Relu":
            slope = opset13.constant(np.array([SLOPE], np.float32))
            node.output(0).replace(opset13.prelu(node.input_value(0), slope).output(0))
    form = openvino.preprocess.PrePostProcessor(model)
    for i in range(len(model.outputs)):
        form.output(i).model().set_layout(openvino.Layout("NCHW"))
        form.output(i).tensor().set_layout(openvino.Layout("NHWC"))
        if dtype == torch.bfloat16:
            form.output(i).tensor().set_element_type(openvino.Type.bf16)
    return form.build()
