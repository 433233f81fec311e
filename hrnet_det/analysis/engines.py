"""The engines that run a network in a benchmark: one row each, which everything reads."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from hrnet_det.analysis.cases import Case, build_inputs
from hrnet_det.analysis.exported import build_file_form
from hrnet_det.analysis.instructions import has_bfloat16
from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.optimize import check_dtype, optimize_for_inference

PRECISIONS = ("float32", "bfloat16", "int8")


@dataclass(frozen=True)
class Engine:
    """What runs a trained network.

    Its `build(model, precision, case)` gives a module that takes the case's inputs.
    """

    title: str  # of its rows
    build: Callable[[nn.Module, str, Case], nn.Module]
    precisions: tuple[str, ...]
    packages: tuple[str, ...] = ()  # that must be installed
    extra: str = ""  # of pyproject.toml, which brings them
    on_gpu: bool = False
    counted: bool = False  # whether its tensors are torch's, which can be counted
    slow_start: bool = False  # is left out unless it is asked for

    @property
    def missing(self) -> str:
        """Its package that is not installed; "" if all are."""
        return next((p for p in self.packages if importlib.util.find_spec(p) is None), "")


def _optimised(model: nn.Module, precision: str, _: Case) -> nn.Module:
    return optimize_for_inference(model, dtype=getattr(torch, precision))


def _compiled(model: nn.Module, precision: str, case: Case) -> nn.Module:
    """torch.compile's longest search, for images of one size, with weights as constants."""
    from torch._inductor import config

    form = optimize_for_inference(model, dtype=getattr(torch, precision), compile=True)
    device = next(model.parameters()).device
    getattr(form, "backbone", form).compile(mode="max-autotune", dynamic=False)
    with config.patch(freezing=True), torch.no_grad():
        form(build_inputs(case, device))  # it is compiled in its first call
    return form


def _openvino(model: nn.Module, precision: str, case: Case) -> nn.Module:
    if precision == "int8":
        return build_file_form("openvino", model, precision, case)
    return optimize_for_inference(model, dtype=getattr(torch, precision), engine="openvino")


# fmt: off
ENGINES = {
    "torch": Engine("optimised", _optimised, ("float32", "bfloat16"), on_gpu=True, counted=True),
    "compile": Engine("torch.compile", _compiled, ("float32", "bfloat16"), on_gpu=True,
                      slow_start=True),
    "onnxruntime": Engine("onnxruntime", partial(build_file_form, "onnx"), ("float32", "int8"),
                          ("onnx", "onnxruntime"), "onnx"),
    "openvino": Engine("openvino", _openvino, PRECISIONS, ("onnx", "openvino", "nncf"), "openvino"),
}
# fmt: on


def chosen_engines(names: Sequence[str] | None, device: str) -> tuple[list[str], list[str]]:
    """Engines that are measured, and a line for each that is left out.

    Args:
        names: in ENGINES; None takes those that are installed and start in seconds.
    Raises: InputError if one that is named cannot be measured.
    """
    chosen, notes = [], []
    for name in ENGINES if names is None else names:
        if name not in ENGINES:
            raise InputError(f"benchmark: engine {name!r}; known: {', '.join(ENGINES)}")
        row, reason = ENGINES[name], ""
        if row.missing:
            advice = f"pip install 'hrnet_det[{row.extra}]'"
            reason = f"{row.missing} is not installed: {advice}"
        elif device != "cpu" and not row.on_gpu:
            reason = "it is measured on a CPU alone"
        elif names is None and row.slow_start:
            reason = f"it takes minutes to start: --engine {' '.join(ENGINES)}"
        if reason and names is not None:
            raise InputError(f"benchmark: engine {name}: {reason}")
        if reason:
            notes.append(f"{name} is left out: {reason}")
        else:
            chosen.append(name)
    return chosen, notes


def chosen_precisions(names: Iterable[str] | None, device: str) -> tuple[list[str], list[str]]:
    """Precisions that are measured, and a line for each that is left out.

    Args:
        names: in PRECISIONS; None takes float32 and, where the device computes in it, bfloat16.
    Raises: InputError if one that is named is not known, or the device does not compute in it.
    """
    there = [name for name in PRECISIONS if name != "bfloat16" or computes_bfloat16(device)]
    lacks = "this CPU has no instructions for it, or oneDNN is told to leave them"
    if names is None:
        lines = [] if "bfloat16" in there else [f"bfloat16 is left out: {lacks}"]
        return [name for name in there if name != "int8"], lines
    for name in names:
        if name not in PRECISIONS:
            raise InputError(f"benchmark: precision {name!r}; known: {', '.join(PRECISIONS)}")
        if name not in there:
            raise InputError(f"benchmark: precision {name}: {lacks}")
    return list(names), []


def computes_bfloat16(device: str) -> bool:
    """Whether a device computes in bfloat16, so that it is worth measuring."""
    try:
        check_dtype(torch.bfloat16, torch.device(device))
    except ValueError:
        return False
    return torch.device(device).type != "cpu" or has_bfloat16()
