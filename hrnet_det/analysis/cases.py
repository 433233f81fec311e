"""What is measured: a case, and the forms of the network in it, all with the same weights."""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import torch
from detectron2.utils.events import EventStorage
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hrnet_det.analysis.models import (
    batch_of_images,
    build_detector,
    build_pyramid,
    with_naive_pyramid,
)
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.variants import VARIANTS
from hrnet_det.modeling.inference.memory_format import use_channels_last
from hrnet_det.modeling.inference.optimize import check_dtype, optimize_for_inference

Step = Callable[[], object]

PARTS = ("backbone", "pyramid", "detector")
MODES = ("inference", "training", "training with trained norms")


@dataclass(frozen=True)
class Case:
    """What is measured: a part of a network of a width, at a size and batch, in a mode.

    Args:
        part: "backbone" (HRNet), "pyramid" (HRNetV2p) or "detector" (Faster R-CNN).
        mode: "inference"; "training" (forward and backward, norms with fixed statistics as in the
            published recipes) or "training with trained norms".
        size: height and width in pixels, multiples of 32.
    Raises: InputError if a name or size is none of these.
    """

    part: str
    mode: str
    variant: str
    size: tuple[int, int]
    batch: int = 1

    def __post_init__(self) -> None:
        for what, known in {"part": PARTS, "mode": MODES, "variant": VARIANTS}.items():
            given = getattr(self, what)
            if given not in known:
                raise InputError(f"benchmark: {what} {given!r}; known: {', '.join(known)}")
        check_size(self.size, "benchmark")
        if self.batch < 1:
            raise InputError(f"benchmark: batch {self.batch}: 1 or more")


def check_size(size: tuple[int, int], command: str) -> None:
    """Raises: InputError if a command cannot take images of this height and width in pixels."""
    if min(size) < 64 or any(side % 32 for side in size):
        raise InputError(f"{command}: size {size[0]}x{size[1]}: multiples of 32, 64 or more")


def build_forms(case: Case, device: str, *, compiled: bool) -> dict[str, nn.Module]:
    """The models that are compared in a case, by the name of their form."""
    training = case.mode != "inference"
    norm_eval = case.mode != "training with trained norms"
    build = build_detector if case.part == "detector" else build_pyramid
    plain = build(case.variant, device, norm_eval=norm_eval).train(training)
    forms = {"plain": plain}
    if importlib.util.find_spec("timm"):
        forms["timm"] = with_naive_pyramid(plain, case.variant)
    if training:
        ours = use_channels_last(copy.deepcopy(plain))
        forms |= {f"trained {dtype}": ours for dtype in dtypes(device)}
    else:
        for dtype in dtypes(device):
            forms[f"optimised {dtype}"] = optimize_for_inference(plain, dtype=getattr(torch, dtype))
        if compiled:
            forms["compiled float32"] = optimize_for_inference(plain, compile=True)
    if case.part == "backbone":
        return {form: model.bottom_up for form, model in forms.items()}
    return forms


def build_inputs(case: Case, device: str) -> torch.Tensor | list[dict]:
    """Images of noise, as the part of the case takes them."""
    if case.part == "detector":
        return batch_of_images(case.batch, case.size, device)
    return torch.randn(case.batch, 3, *case.size, device=device)


def forward_of(form: str, model: nn.Module, inputs: torch.Tensor | list[dict], device: str) -> Step:
    """A call of the model: mixed precision for the form that trains so."""
    mixed = form == "trained bfloat16"

    def forward() -> object:
        autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=mixed)
        with EventStorage(), autocast:  # where Detectron2's losses report to
            return model(inputs)

    return forward


def training_step(forward: Step, model: nn.Module) -> Step:
    """Forward and backward, of the sum of what a call of `forward` gives."""

    def step() -> None:
        model.zero_grad()
        result = forward()
        maps = result.values() if isinstance(result, dict) else result
        sum(x.float().square().mean() for x in maps).backward()

    return step


def dtypes(device: str) -> list[str]:
    """The types to measure: bfloat16 too, where the device computes in it."""
    try:
        check_dtype(torch.bfloat16, torch.device(device))
    except ValueError:
        return ["float32"]
    return ["float32", "bfloat16"]


def gmac_of(case: Case, model: nn.Module, inputs: torch.Tensor | list[dict]) -> float | None:
    """Multiply-adds of a form's convolutions, the backward pass counted as twice the forward's."""
    if case.part == "detector":
        return None
    with torch.no_grad():
        return macs(model, inputs) / 1e9 * (1 if case.mode == "inference" else 3)


def macs(function: Callable, *inputs: object) -> float:
    """Multiply-adds of the convolutions and matrix products of function(*inputs)."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function(*inputs)
    return counter.get_total_flops() / 2
