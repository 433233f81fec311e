"""How fast each kind of convolution of a backbone with pyramid runs, and what time is spent beside.

`python -m tools.roofline --variant w18 --size 512x512` prints a table for the optimised form on one
thread, in CPU time, which other programs on the machine disturb less than a clock.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from hrnet_det import HRFPN, HRNet
from hrnet_det.modeling import optimize_for_inference
from hrnet_det.modeling.backbone.fused import FusedConv2d

Kind = tuple[int, int, int, int]  # kernel, stride, channels in and out


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def measure(model: nn.Module, images: Tensor, rounds: int) -> tuple[float, dict[Kind, list[float]]]:
    """Median seconds of a call, and of each kind of convolution: seconds and GFLOP in a call."""
    found: dict[Kind, list[list[float]]] = defaultdict(list)
    calls: list[tuple[Kind, float, float]] = []
    forward = FusedConv2d._onednn

    def timed(conv: FusedConv2d, x: Tensor, add: Tensor | None) -> Tensor:
        start = time.process_time()
        y = forward(conv, x, add)
        seconds = time.process_time() - start
        kernel, stride = conv.weight.shape[-1], conv.geometry[0][0]
        kind = kernel, stride, x.shape[1], conv.out_channels
        calls.append((kind, seconds, 2e-9 * y.numel() * x.shape[1] * kernel**2))
        return y

    totals = [cpu_seconds(lambda: model(images)) for _ in range(rounds + 3)][3:]
    FusedConv2d._onednn = timed
    try:
        for _ in range(rounds):
            calls.clear()
            model(images)
            sums: dict[Kind, list[float]] = defaultdict(lambda: [0.0, 0.0])
            for kind, seconds, flop in calls:
                sums[kind][0] += seconds
                sums[kind][1] += flop
            for kind, values in sums.items():
                found[kind].append(values)
    finally:
        FusedConv2d._onednn = forward
    return float(np.median(totals)), {k: np.median(v, axis=0).tolist() for k, v in found.items()}


@torch.no_grad()
def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="w18")
    parser.add_argument("--size", default="512x512", help="HxW, pixels")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=11)
    arguments = parser.parse_args(argv)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    plain = HRFPN(bottom_up=HRNet(variant=arguments.variant)).eval()
    model = optimize_for_inference(plain, dtype=getattr(torch, arguments.dtype))
    images = torch.randn(1, 3, *map(int, arguments.size.split("x")))
    total, kinds = measure(model, images, arguments.rounds)

    print("| convolution | ms | share | GFLOP | GFLOP/s |\n|---|---|---|---|---|")
    rest = [0.0, 0.0]
    for (kernel, stride, before, after), (seconds, flop) in sorted(
        kinds.items(), key=lambda item: -item[1][0]
    ):
        if seconds < 0.02 * total:
            rest = [rest[0] + seconds, rest[1] + flop]
            continue
        name = f"{kernel}x{kernel}, {before} to {after}" + (", stride 2" if stride == 2 else "")
        print(_row(name, seconds, flop, total))
    print(_row("others", *rest, total))
    seconds, flop = np.sum(list(kinds.values()), axis=0)
    best = max(f / s for s, f in kinds.values() if s > 0.02 * total)
    print(_row("all convolutions", seconds, flop, total))
    print(f"| all | {total * 1e3:.0f} | | | {flop / total:.0f} |")
    print(
        f"\nAll convolutions as fast as the fastest here ({best:.0f} GFLOP/s) would take "
        f"{flop / best * 1e3:.0f} ms; what is beside them takes {(total - seconds) * 1e3:.0f} ms."
    )


def _row(name: str, seconds: float, flop: float, total: float) -> str:
    rate = flop / seconds if seconds else 0
    return f"| {name} | {seconds * 1e3:.1f} | {seconds / total:.0%} | {flop:.2f} | {rate:.0f} |"


if __name__ == "__main__":
    main()
