"""Time and memory of HRNetV2p in its forms, beside timm's HRNet with a naive pyramid."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict

import torch

from hrnet_det.analysis.against import check_against
from hrnet_det.analysis.cases import Case, build_inputs, gmac_of
from hrnet_det.analysis.engines import ENGINES, chosen_engines, chosen_precisions
from hrnet_det.analysis.forms import (
    Form,
    build_forms,
    difference,
    forward_of,
    training_step,
)
from hrnet_det.analysis.instructions import cpu_name, instructions, limits
from hrnet_det.analysis.layers import WHOLE, can_be_taken_apart, check_layers, measure_layers
from hrnet_det.analysis.memory import activation_bytes, peak_bytes
from hrnet_det.analysis.timing import alternate, check_rounds, peak_convolution
from hrnet_det.errors import InputError
from hrnet_det.model_zoo import check_device


def benchmark(
    cases: Sequence[Case],
    *,
    device: str = "cpu",
    rounds: int = 5,
    engines: Sequence[str] | None = ("torch",),
    precisions: Sequence[str] | None = None,
    against: Sequence[str] = (),
    layers: bool = False,
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
        layers: measure each convolution of the optimised float32 form alone, too.
    Returns: {"environment": {...}, "notes": [...], "peak": {...}, "rows": [...]}, ready for json.
        Notes say what is left out; peak is the GFLOP/s of the best convolution in each type. A row
        is a form of a case: seconds of each round and their median, and until it was built
        (start); its ratio to the plain form's (times_plain); gmac, 10^9 multiply-adds of the
        convolutions, the GFLOP/s and what part of the peak they are; memory, bytes of tensors in a
        step at most, beside the weights; activations, those that are kept for the backward pass;
        difference, the largest from the plain form's maps, as a part of their largest value.
        What cannot be measured of a form is None. With layers, "layers" has them for each case.
    """
    check_device(device)
    check_rounds(rounds)
    check_against(against)
    engines, notes = chosen_engines(engines, device)
    precisions, more = chosen_precisions(precisions, device)
    notes += [*more, *_left_out(engines, precisions, cases)]
    if layers:
        check_layers(cases, device, engines, precisions)
    peak = {dtype: peak_convolution(dtype, device) for dtype in precisions if dtype != "int8"}
    rows, alone = [], []
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
        if layers and can_be_taken_apart(case):
            images = build_inputs(case, device)
            found = measure_layers(forms[WHOLE].model, images)
            alone.append({"case": asdict(case), "layers": [asdict(layer) for layer in found]})
    results = {"environment": environment(device), "notes": notes, "peak": peak, "rows": rows}
    return results | ({"layers": alone} if layers else {})


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


def environment(device: str) -> dict[str, object]:
    """What is measured on: the device, the CPU's instructions, threads of torch."""
    there: dict[str, object] = {"torch": torch.__version__, "threads": torch.get_num_threads()}
    if device != "cpu":
        return {"device": torch.cuda.get_device_name(device), **there}
    uses = torch.backends.cpu.get_cpu_capability()
    has = {"instructions": instructions(), "torch uses": uses, "limits": limits()}
    return {"device": cpu_name(), **there, **has}


def _measure(case: Case, forms: dict[str, Form], device: str, rounds: int) -> list[dict]:
    """Rows of a case's forms, the plain one first."""
    inputs = build_inputs(case, device)
    forwards = {name: forward_of(form, inputs, device) for name, form in forms.items()}
    training = case.mode != "inference"
    steps = {
        name: training_step(forward, forms[name].model) if training else torch.no_grad()(forward)
        for name, forward in forwards.items()
    }
    seconds = alternate(steps, rounds, device, settle=not training)
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
