"""Time and memory of HRNetV2p in its forms, beside timm's HRNet with a naive pyramid."""

from __future__ import annotations

import copy
import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from detectron2.utils.events import EventStorage
from torch import nn

from hrnet_det.analysis.complexity import macs
from hrnet_det.analysis.memory import activation_bytes, peak_bytes
from hrnet_det.analysis.models import (
    batch_of_images,
    build_detector,
    build_pyramid,
    with_naive_pyramid,
)
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.fused import FusedConv2d
from hrnet_det.modeling.backbone.variants import VARIANTS
from hrnet_det.modeling.inference.memory_format import use_channels_last
from hrnet_det.modeling.inference.optimize import check_dtype, optimize_for_inference

PARTS = ("backbone", "pyramid", "detector")
MODES = ("inference", "training", "training with trained norms")

Step = Callable[[], object]


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
        for what, given, known in (("part", self.part, PARTS), ("mode", self.mode, MODES)):
            if given not in known:
                raise InputError(f"benchmark: {what} {given!r}; known: {', '.join(known)}")
        if min(self.size) < 64 or any(side % 32 for side in self.size):
            height, width = self.size
            raise InputError(f"benchmark: size {height}x{width}: multiples of 32, 64 or more")
        if self.variant not in VARIANTS:
            raise InputError(f"benchmark: variant {self.variant!r}; known: {', '.join(VARIANTS)}")
        if self.batch < 1:
            raise InputError(f"benchmark: batch {self.batch}: 1 or more")


@dataclass
class Row:
    """One form's result. Times in seconds, memory in bytes."""

    case: Case
    form: str
    seconds: list[float]  # of each round
    gmac: float | None  # multiply-adds of the convolutions, 10^9
    memory: int  # of tensors in a step at most, beside the weights
    activations: int | None  # kept for the backward pass

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def benchmark(
    cases: Sequence[Case], *, device: str = "cpu", rounds: int = 5, compiled: bool = False
) -> dict:
    """Measure each case's forms in alternating order in this process.

    Args:
        device: "cpu" or "cuda".
        rounds: times that each form is run, after two runs that are not counted.
        compiled: measure torch.compile too, in inference.
    Returns: {"environment": {...}, "peak": {...}, "rows": [...]}, ready for json: peak is the
        GFLOP/s of the best convolution in each type; rows are Row's fields with the median, its
        ratio to the plain form (times_plain), GFLOP/s and what part of the peak they are.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"benchmark: device {device!r} cannot be used here: {reason}") from error
    if compiled and not any(case.mode == "inference" for case in cases):
        raise InputError("benchmark: --compile is for --mode inference, which is not measured")
    peak = {dtype: peak_convolution(dtype, device) for dtype in ("float32", *_half(device))}
    rows = []
    for case in cases:
        measured = _measure(case, device, rounds, compiled=compiled)
        plain = next(row.median for row in measured if row.form == "plain")
        for row in measured:
            work = None if row.gmac is None else 2 * row.gmac / row.median  # GFLOP/s
            best = peak.get("bfloat16" if "bfloat16" in row.form else "float32")
            rows.append(
                asdict(row)
                | {
                    "median": row.median,
                    "times_plain": plain / row.median,
                    "gflops": work,
                    "of_peak": None if work is None else work / best,
                }
            )
    return {"environment": environment(device), "peak": peak, "rows": rows}


def environment(device: str) -> dict[str, object]:
    """What the figures depend on."""
    cpu = device == "cpu"
    return {
        "torch": torch.__version__,
        "device": torch.backends.cpu.get_cpu_capability()
        if cpu
        else torch.cuda.get_device_name(device),
        "threads": torch.get_num_threads(),
    }


def _half(device: str) -> list[str]:
    """bfloat16, where the device computes in it."""
    try:
        check_dtype(torch.bfloat16, torch.device(device))
    except ValueError:
        return []
    return ["bfloat16"]


@torch.no_grad()
def peak_convolution(dtype: str, device: str) -> float:
    """GFLOP/s of the fastest of some 3x3 convolutions, the yardstick for whole networks."""
    best = 0.0
    for channels, side in ((64, 128), (128, 64), (256, 64), (256, 128)):
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
    if rounds < 1:
        raise InputError(f"benchmark: {rounds} rounds: 1 or more")
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


def _measure(case: Case, device: str, rounds: int, *, compiled: bool) -> list[Row]:
    forms = _forms(case, device, compiled=compiled)
    inputs = _inputs(case, device)
    forwards = {form: _forward(form, model, inputs, device) for form, model in forms.items()}
    training = case.mode != "inference"
    steps = {form: _step(forwards[form], forms[form], training=training) for form in forms}
    seconds = alternate(steps, rounds, device)
    # fvcore does not know oneDNN's operators; all of our forms do the same work.
    work = {form: _gmac(case, forms[form], inputs) for form in ("plain", "timm") if form in forms}
    rows = []
    for form in forms:
        kept = activation_bytes(forwards[form]) if training and device == "cpu" else None
        rows.append(
            Row(
                case=case,
                form=form,
                seconds=seconds[form],
                gmac=work["timm" if form == "timm" else "plain"],
                memory=peak_bytes(steps[form], torch.device(device)),
                activations=kept,
            )
        )
    return rows


def _forms(case: Case, device: str, *, compiled: bool) -> dict[str, nn.Module]:
    """What is compared, all with the same weights."""
    training = case.mode != "inference"
    norm_eval = case.mode != "training with trained norms"
    build = build_detector if case.part == "detector" else build_pyramid
    plain = build(case.variant, device, norm_eval=norm_eval).train(training)
    forms = {"plain": plain}
    if importlib.util.find_spec("timm"):
        forms["timm"] = with_naive_pyramid(plain, case.variant)
    if training:
        ours = use_channels_last(copy.deepcopy(plain))
        forms |= {f"trained {dtype}": ours for dtype in ("float32", *_half(device))}
    else:
        for dtype in ("float32", *_half(device)):
            form = optimize_for_inference(plain, dtype=getattr(torch, dtype))
            forms[f"optimised {dtype}"] = form
        if compiled:
            forms["compiled float32"] = optimize_for_inference(plain, compile=True)
    if case.part == "backbone":
        return {form: model.bottom_up for form, model in forms.items()}
    return forms


def _inputs(case: Case, device: str) -> torch.Tensor | list[dict]:
    if case.part == "detector":
        return batch_of_images(case.batch, case.size, device)
    return torch.randn(case.batch, 3, *case.size, device=device)


def _forward(form: str, model: nn.Module, inputs: torch.Tensor | list[dict], device: str) -> Step:
    """A call of the model: mixed precision for the form that trains so."""
    mixed = form == "trained bfloat16"

    def forward() -> object:
        autocast = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=mixed)
        with EventStorage(), autocast:  # where Detectron2's losses report to
            return model(inputs)

    return forward


def _step(forward: Step, model: nn.Module, *, training: bool) -> Step:
    if not training:
        return torch.no_grad()(forward)

    def step() -> None:
        model.zero_grad()
        sum(x.float().square().mean() for x in _values(forward)).backward()

    return step


def _values(forward: Step) -> list[torch.Tensor]:
    """The floating tensors of a call's result: maps, or losses."""
    result = forward()
    return list(result.values() if isinstance(result, dict) else result)


def _gmac(case: Case, model: nn.Module, inputs: torch.Tensor | list[dict]) -> float | None:
    """Multiply-adds of a form's convolutions, the backward pass counted as twice the forward's."""
    if case.part == "detector":
        return None
    with torch.no_grad():
        return macs(model, inputs) / 1e9 * (1 if case.mode == "inference" else 3)
