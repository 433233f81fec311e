"""Time and memory of HRNetV2p in its forms, beside timm's HRNet with a naive pyramid."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import nn

from hrnet_det.analysis.against import check_against
from hrnet_det.analysis.cases import Case, build_inputs, gmac_of
from hrnet_det.analysis.engines import ENGINES, chosen_engines, chosen_precisions
from hrnet_det.analysis.forms import (
    Form,
    Step,
    build_forms,
    difference,
    forward_of,
    training_step,
)
from hrnet_det.analysis.instructions import cpu_name, instructions, limits
from hrnet_det.analysis.memory import activation_bytes, peak_bytes
from hrnet_det.errors import InputError
from hrnet_det.model_zoo import check_device
from hrnet_det.modeling.backbone.fused import FusedConv2d

# Channels and sides in pixels of the convolutions that the peak is measured with.
CONVOLUTIONS = ((64, 128), (128, 64), (256, 64), (256, 128))


def benchmark(
    cases: Sequence[Case],
    *,
    device: str = "cpu",
    rounds: int = 5,
    engines: Sequence[str] | None = ("torch",),
    precisions: Sequence[str] | None = None,
    against: Sequence[str] = (),
) -> dict:
    """Measure each case's forms in alternating order in this process.

    Args:
        device: "cpu" or "cuda".
        rounds: times that each form is run, after two runs that are not counted.
        engines: that run the trained network, in inference: "torch" (its optimised form),
            "compile" (torch.compile), "onnxruntime", "openvino"; None: all that are installed and
            start in seconds.
        precisions: "float32", "bfloat16", "int8"; None: what the device has of 32 and 16 bits.
        against: "resnet50_fpn": Detectron2's own.
    Returns: {"environment": {...}, "notes": [...], "peak": {...}, "rows": [...]}, ready for json.
        Notes say what is left out; peak is the GFLOP/s of the best convolution in each type. A row
        is a form of a case: seconds of each round and their median, and until it was built
        (start); its ratio to the plain form's (times_plain); gmac, 10^9 multiply-adds of the
        convolutions, the GFLOP/s and what part of the peak they are; memory, bytes of tensors in a
        step at most, beside the weights; activations, those that are kept for the backward pass;
        difference, the largest from the plain form's maps, as a part of their largest value.
        What cannot be measured of a form is None.
    """
    check_device(device)
    check_rounds(rounds)
    check_against(against)
    engines, notes = chosen_engines(engines, device)
    precisions, more = chosen_precisions(precisions, device)
    notes += [*more, *_left_out(engines, precisions, cases)]
    peak = {dtype: peak_convolution(dtype, device) for dtype in precisions if dtype != "int8"}
    rows = []
    for case in cases:
        forms = build_forms(case, device, engines=engines, precisions=precisions, against=against)
        measured = _measure(case, forms, device, rounds)
        for row in measured:
            row["times_plain"] = measured[0]["median"] / row["median"]
            row["gflops"] = row["of_peak"] = None
            if row["gmac"] is not None:
                row["gflops"] = 2 * row["gmac"] / row["median"]
                if row["precision"] in peak:
                    row["of_peak"] = row["gflops"] / peak[row["precision"]]
        rows += measured
    return {"environment": environment(device), "notes": notes, "peak": peak, "rows": rows}


def _left_out(engines: Sequence[str], precisions: Sequence[str], cases: Sequence[Case]) -> list:
    """A line for what an engine does not do. Raises: InputError if nothing would be measured."""
    inference = [case for case in cases if case.mode == "inference"]
    others = [name for name in engines if name != "torch"]
    if others and not inference:
        raise InputError(
            f"benchmark: --engine {' '.join(others)} is for --mode inference, which is not measured"
        )
    notes = []
    for name in engines if inference else ():
        lacking = [p for p in precisions if p not in ENGINES[name].precisions]
        if lacking:
            notes.append(f"{name} is not measured in {', '.join(lacking)}: it has no such form")
    return notes


def check_rounds(rounds: int) -> None:
    """Raises: InputError if nothing would be measured."""
    if rounds < 1:
        raise InputError(f"benchmark: {rounds} rounds: 1 or more")


def environment(device: str) -> dict[str, object]:
    """What is measured on: the device, the CPU's instructions, threads of torch."""
    there: dict[str, object] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if device != "cpu":
        return {"device": torch.cuda.get_device_name(device), **there}
    uses = torch.backends.cpu.get_cpu_capability()
    has = {"instructions": instructions(), "torch uses": uses, "limits": limits()}
    return {"device": cpu_name(), **there, **has}


@torch.no_grad()
def peak_convolution(dtype: str, device: str) -> float:
    """GFLOP/s of the fastest of some 3x3 convolutions, the yardstick for whole networks."""
    best = 0.0
    for channels, side in CONVOLUTIONS:
        conv = nn.Conv2d(channels, channels, 3, padding=1)
        weight = conv.weight.to(device, getattr(torch, dtype))
        fused = FusedConv2d(weight, None, conv)
        x = torch.randn(1, channels, side, side, device=device).to(weight.dtype)
        x = x.contiguous(memory_format=torch.channels_last)
        seconds = min(alternate({"": lambda f=fused, x=x: f(x)}, 10, device)[""])
        best = max(best, 2 * channels * channels * 9 * side * side / seconds / 1e9)
    return best


def alternate(steps: dict[str, Step], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each step in each round: A B C, A B C, ..., after two rounds not counted."""
    check_rounds(rounds)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            if device != "cpu":
                torch.cuda.synchronize(device)
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def _measure(case: Case, forms: dict[str, Form], device: str, rounds: int) -> list[dict]:
    """Rows of a case's forms, the plain one first."""
    inputs = build_inputs(case, device)
    forwards = {name: forward_of(form, inputs, device) for name, form in forms.items()}
    training = case.mode != "inference"
    steps = {
        name: training_step(forward, forms[name].model) if training else torch.no_grad()(forward)
        for name, forward in forwards.items()
    }
    seconds = alternate(steps, rounds, device)
    counted = {form.work for form in forms.values()}
    work = {name: gmac_of(case, forms[name].model, inputs) for name in counted}
    expected = None if training else steps["plain"]()
    rows = []
    for name, form in forms.items():
        kept = training and form.counted and device == "cpu"
        same = not training and form.same
        rows.append(
            {
                "case": asdict(case),
                "form": name,
                "precision": form.precision,
                "start": form.start,
                "seconds": seconds[name],
                "median": statistics.median(seconds[name]),
                "gmac": work[form.work],
                "memory": peak_bytes(steps[name], torch.device(device)) if form.counted else None,
                "activations": activation_bytes(forwards[name]) if kept else None,
                "difference": difference(expected, steps[name]()) if same else None,
            }
        )
    return rows
