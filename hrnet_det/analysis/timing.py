"""Seconds of steps that are compared, and of the convolution that they are measured by."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn

from hrnet_det.errors import InputError
from hrnet_det.modeling.backbone.fused import FusedConv2d

Step = Callable[[], object]

REST = 0.2  # seconds
# Channels and sides in pixels of the convolutions that the peak is measured with.
CONVOLUTIONS = ((64, 128), (128, 64), (256, 64), (256, 128))


def check_rounds(rounds: int) -> None:
    """Raises: InputError if nothing would be measured."""
    if rounds < 1:
        raise InputError(f"benchmark: {rounds} rounds: 1 or more")


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


def alternate(
    steps: dict[str, Step], rounds: int, device: str, *, settle: bool = False
) -> dict[str, list[float]]:
    """Seconds of each step in each round: A B C, A B C, ..., after two rounds not counted.

    Args:
        settle: before each counted step there is a REST, and the step once more. Threads of one
            engine go on spinning for a while when its step is done, and slow the next one down
            (OpenVINO after onnxruntime by 40 %).
    """
    check_rounds(rounds)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 2):
        for name, step in steps.items():
            if settle and number >= 2:
                time.sleep(REST)
                step()
            start = time.perf_counter()
            step()
            if device != "cpu":
                torch.cuda.synchronize(device)
            if number >= 2:
                seconds[name].append(time.perf_counter() - start)
    return seconds
