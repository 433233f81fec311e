"""What limits a network in float32: its convolutions one by one, beside the fastest there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tabulate import tabulate
from torch import Tensor, nn

from hrnet_det.analysis.cases import Case
from hrnet_det.analysis.timing import alternate
from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.fused import FusedConv2d

WHOLE = "optimised float32"  # the form that is taken apart
LEAST = 0.03  # of the time, of what gets a row of its own
ROUNDS = 7  # the fastest counts: nothing else is measured beside it


@dataclass(frozen=True)
class Layer:
    """Convolutions of one kernel and size of input.

    Args:
        name: its kernel and channels, such as "3x3, 18 to 18".
        count: how many the network has.
        gmac: 10^9 multiply-adds of all of them.
        seconds: of all of them, each run alone again and again.
    """

    name: str
    count: int
    gmac: float
    seconds: float


def can_be_taken_apart(case: Case) -> bool:
    """Whether a case's time is that of its convolutions, but for little."""
    return case.mode == "inference" and case.part != "detector"


def check_layers(
    cases: Iterable[Case], device: str, engines: Sequence[str], precisions: Sequence[str]
) -> None:
    """Raises: InputError if no network would be there whose layers can be measured."""
    if not any(can_be_taken_apart(case) for case in cases):
        raise InputError("benchmark: --layers is for --mode inference of a backbone or pyramid")
    if device != "cpu" or "torch" not in engines or "float32" not in precisions:
        raise InputError(
            "benchmark: --layers is for the convolutions of --engine torch --precision float32 on "
            "a CPU, which are not measured"
        )


@torch.no_grad()
def measure_layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """The convolutions of an optimised network, each run alone on an input of noise.

    Neither additions nor ReLUs are run, and the input lies in the cache where it fits: what is
    measured is the least that the network's convolutions can take in this library.

    Args:
        model: as optimize_for_inference makes it, on a CPU.
        images: (N, 3, H, W).
    """
    found: Counter[tuple] = Counter()
    convolutions: dict[tuple, FusedConv2d] = {}

    def note(conv: FusedConv2d, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        key = (inputs[0].shape, conv.weight.shape, *map(str, conv.geometry))
        found[key] += 1
        convolutions[key] = conv

    fused = [module for module in model.modules() if isinstance(module, FusedConv2d)]
    hooks = [module.register_forward_hook(note) for module in fused]
    model(images)
    for hook in hooks:
        hook.remove()
    return [_alone(convolutions[key], key[0], count) for key, count in found.items()]


def _alone(conv: FusedConv2d, size: torch.Size, count: int) -> Layer:
    """A convolution's layer, timed."""
    x = torch.randn(size).contiguous(memory_format=torch.channels_last)
    y = conv(x, relu=False)
    seconds = min(alternate({"": lambda: conv(x, relu=False)}, ROUNDS, "cpu")[""])
    out, each, *kernel = conv.weight.shape
    gmac = y.numel() * each * kernel[0] * kernel[1] / 1e9
    name = f"{kernel[0]}x{kernel[1]}, {size[1]} to {out}"
    return Layer(name, count, gmac * count, seconds * count)


def layers_table(layers: list[Layer], *, whole: float, plain: float, peak: float) -> str:
    """Where the time of a network goes, and the most that can be had.

    Args:
        whole, plain: seconds of the network, and of its plain form.
        peak: GFLOP/s of the fastest convolution.
    """
    total = sum(layer.seconds for layer in layers)
    grouped: dict[str, list[Layer]] = {}
    for layer in layers:
        grouped.setdefault(layer.name, []).append(layer)
    large = {n: g for n, g in grouped.items() if sum(x.seconds for x in g) >= LEAST * total}
    rest = [layer for layer in layers if layer.name not in large]
    groups = sorted(large.items(), key=lambda item: -sum(x.seconds for x in item[1]))
    groups += [("others", rest)] if rest else []
    rows = [_row(name, group, peak) for name, group in [*groups, ("all", layers)]]
    headers = ("convolutions alone", "number", "GMAC", "ms", "GFLOP/s", "of fastest conv.")
    table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
    ideal = 2 * sum(layer.gmac for layer in layers) / peak
    return (
        f"{table}\n"
        f"They are {total / whole:.0%} of the {whole * 1e3:,.0f} ms of the whole, which is "
        f"{plain / whole:.2f} times as fast as plain; without all the rest it would be "
        f"{plain / total:.2f}, and with each at the speed of the fastest {plain / ideal:.2f}."
    )


def _row(name: str, group: list[Layer], peak: float) -> tuple[str, ...]:
    gmac, seconds = (sum(getattr(x, key) for x in group) for key in ("gmac", "seconds"))
    speed = 2 * gmac / seconds
    shown = (f"{gmac:.2f}", f"{seconds * 1e3:,.1f}", f"{speed:,.0f}", f"{speed / peak:.0%}")
    return (name, str(sum(x.count for x in group)), *shown)
