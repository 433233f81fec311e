"""Time and memory of HRNetV2p in its forms, beside timm's HRNet with a naive pyramid."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import nn

from hrnet_det.analysis.cases import (
    Case,
    Step,
    build_forms,
    build_inputs,
    dtypes,
    forward_of,
    gmac_of,
    training_step,
)
from hrnet_det.analysis.memory import activation_bytes, peak_bytes
from hrnet_det.errors import InputError
from hrnet_det.model_zoo import check_device
from hrnet_det.modeling.backbone.fused import FusedConv2d

# Channels and sides in pixels of the convolutions that the peak is measured with.
CONVOLUTIONS = ((64, 128), (128, 64), (256, 64), (256, 128))


def benchmark(
    cases: Sequence[Case], *, device: str = "cpu", rounds: int = 5, compiled: bool = False
) -> dict:
    """Measure each case's forms in alternating order in this process.

    Args:
        device: "cpu" or "cuda".
        rounds: times that each form is run, after two runs that are not counted.
        compiled: measure torch.compile too, in inference.
    Returns: {"environment": {...}, "peak": {...}, "rows": [...]}, ready for json: peak is the
        GFLOP/s of the best convolution in each type. A row is a form of a case: seconds of each
        round and their median; its ratio to the plain form's (times_plain); gmac, 10^9
        multiply-adds of the convolutions, the GFLOP/s and what part of the peak they are, or None;
        memory, bytes of tensors in a step at most, beside the weights; activations, those that are
        kept for the backward pass, or None.
    """
    check_device(device)
    check_rounds(rounds)
    if compiled and not any(case.mode == "inference" for case in cases):
        raise InputError("benchmark: --compile is for --mode inference, which is not measured")
    peak = {dtype: peak_convolution(dtype, device) for dtype in dtypes(device)}
    rows = []
    for case in cases:
        measured = _measure(case, device, rounds, compiled=compiled)
        for row in measured:
            dtype = "bfloat16" if row["form"].endswith("bfloat16") else "float32"
            row["times_plain"] = measured[0]["median"] / row["median"]
            row["gflops"] = row["of_peak"] = None
            if row["gmac"] is not None:
                row["gflops"] = 2 * row["gmac"] / row["median"]
                row["of_peak"] = row["gflops"] / peak[dtype]
        rows += measured
    return {"environment": environment(device), "peak": peak, "rows": rows}


def check_rounds(rounds: int) -> None:
    """Raises: InputError if nothing would be measured."""
    if rounds < 1:
        raise InputError(f"benchmark: {rounds} rounds: 1 or more")


def environment(device: str) -> dict[str, object]:
    if device == "cpu":
        name = torch.backends.cpu.get_cpu_capability()
    else:
        name = torch.cuda.get_device_name(device)
    return {"torch": torch.__version__, "device": name, "threads": torch.get_num_threads()}


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


def _measure(case: Case, device: str, rounds: int, *, compiled: bool) -> list[dict]:
    """Rows of a case's forms, the plain one first."""
    forms, inputs = build_forms(case, device, compiled=compiled), build_inputs(case, device)
    forwards = {form: forward_of(form, model, inputs, device) for form, model in forms.items()}
    training = case.mode != "inference"
    steps = {
        form: training_step(forward, forms[form]) if training else torch.no_grad()(forward)
        for form, forward in forwards.items()
    }
    seconds = alternate(steps, rounds, device)
    # torch's counter does not know oneDNN's operators; all of our forms do the same work.
    work = {form: gmac_of(case, forms[form], inputs) for form in ("plain", "timm") if form in forms}
    return [
        {
            "case": asdict(case),
            "form": form,
            "seconds": seconds[form],
            "median": statistics.median(seconds[form]),
            "gmac": work["timm" if form == "timm" else "plain"],
            "memory": peak_bytes(steps[form], torch.device(device)),
            "activations": activation_bytes(forward) if training and device == "cpu" else None,
        }
        for form, forward in forwards.items()
    ]
