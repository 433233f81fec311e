"""What activation checkpointing saves and costs: its levels, and each of the parts they choose.

`python -m tools.checkpointing` prints the documentation's table.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from functools import partial

import torch
from tabulate import tabulate

from hrnet_det.analysis.cases import MODES, Case
from hrnet_det.analysis.forms import training_step
from hrnet_det.analysis.memory import activation_bytes, peak_bytes
from hrnet_det.analysis.models import build_pyramid, with_naive_pyramid
from hrnet_det.analysis.planning import set_checkpointed
from hrnet_det.analysis.tables import parse_size, title
from hrnet_det.analysis.timing import Step, alternate
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING
from hrnet_det.modeling.inference.memory_format import use_channels_last

# What can be checkpointed by itself.
CHECKPOINTABLE = (
    "stage1",
    "bottlenecks",
    "branch0",
    "branch1",
    "branch2",
    "branch3",
    "modules",
    "pyramid",
)


def compare_checkpointing(case: Case, *, rounds: int = 3, parts: bool = False) -> list[dict]:
    """A training step of HRNetV2p at each level of CHECKPOINTING.

    Args:
        case: of the pyramid, in training.
        rounds: times that each is run, in alternating order, after two runs that are not counted.
        parts: also with each of CHECKPOINTABLE alone, which the levels were chosen by.
    Returns: rows of name, activations (bytes kept for the backward pass), peak (bytes at most in a
        step, beside weights and statistics, with gradients), seconds; first "timm", then "none".
    """
    forwards, steps = _training(case, _choices(parts))
    seconds = alternate(steps, rounds, "cpu")
    return [
        {
            "name": name,
            "activations": activation_bytes(forward),
            "peak": peak_bytes(steps[name], torch.device("cpu")),
            "seconds": statistics.median(seconds[name]),
        }
        for name, forward in forwards.items()
    ]


def _choices(parts: bool) -> dict[str, frozenset[str]]:
    """What is checkpointed, by the name of its row."""
    alone = {f"{part} alone": frozenset({part}) for part in CHECKPOINTABLE} if parts else {}
    return {"none": CHECKPOINTING["none"], **alone, **CHECKPOINTING}


def _training(
    case: Case, choices: dict[str, frozenset[str]]
) -> tuple[dict[str, Step], dict[str, Step]]:
    """A forward pass and a step of each choice, and of timm's network, with the same weights."""
    norm_eval = case.mode != "training with trained norms"
    plain = build_pyramid(case.variant, "cpu", norm_eval=norm_eval)
    naive = with_naive_pyramid(plain, case.variant)
    ours = use_channels_last(plain)
    images = torch.randn(case.batch, 3, *case.size)

    def forward(parts: frozenset[str]) -> dict[str, torch.Tensor]:
        set_checkpointed(ours, parts)
        return ours(images)

    forwards = {"timm": partial(naive, images)}
    forwards |= {name: partial(forward, parts) for name, parts in choices.items()}
    steps = {
        name: training_step(call, naive if name == "timm" else ours)
        for name, call in forwards.items()
    }
    return forwards, steps


def checkpointing_table(rows: list[dict]) -> str:
    """The rows of `compare_checkpointing`, memory and time relative to no checkpointing."""
    none = next(row for row in rows if row["name"] == "none")
    cells = []
    for row in rows:
        saved, cost = none["activations"] - row["activations"], row["seconds"] - none["seconds"]
        cells.append(
            (
                row["name"],
                f"{row['activations'] / 1e6:,.0f}",
                f"{row['activations'] / none['activations']:.0%}",
                f"{row['peak'] / 1e6:,.0f}",
                f"{row['seconds']:.2f}",
                f"{row['seconds'] / none['seconds']:.2f}",
                f"{saved / cost / 1e6:,.0f}" if saved > 0 and cost > 0 else "-",
            )
        )
    headers = (
        "checkpointed",
        "kept MB",
        "of none",
        "peak MB",
        "s",
        "time / none",
        "MB saved per s",
    )
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m tools.checkpointing", description=__doc__)
    parser.add_argument("--variant", default="w18", help="(%(default)s)")
    parser.add_argument("--mode", nargs="+", default=MODES[1:2], choices=MODES[1:])
    parser.add_argument("--size", default="512x512", metavar="HxW", help="pixels (%(default)s)")
    parser.add_argument("--batch", type=int, default=1, help="images at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--parts", action="store_true", help="each part alone too")
    given = parser.parse_args(argv)
    for mode in given.mode:
        case = Case("pyramid", mode, given.variant, parse_size(given.size), given.batch)
        rows = compare_checkpointing(case, rounds=given.rounds, parts=given.parts)
        print(f"{title(case)}\n{checkpointing_table(rows)}\n")


if __name__ == "__main__":
    main()
