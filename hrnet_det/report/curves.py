"""The curves of a training run."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(output: Path) -> bool:
    """Losses and learning rate from output/metrics.json to output/curves.png; False if too few."""
    from matplotlib.figure import Figure  # without pyplot: no backend is chosen

    rows = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    rows = [row for row in rows if "total_loss" in row]
    if len(rows) < 2:
        return False
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name in ["total_loss", *sorted(key for key in rows[-1] if key.startswith("loss_"))]:
        points = [(row["iteration"], row[name]) for row in rows if name in row]
        losses.plot(*zip(*points, strict=True), label=name, lw=2 if name == "total_loss" else 1)
    losses.set(ylabel="loss", yscale="log")
    losses.legend(fontsize="small", ncols=2)
    points = [(row["iteration"], row["lr"]) for row in rows if "lr" in row]
    rate.plot(*zip(*points, strict=True), color="black")
    rate.set(ylabel="learning rate", xlabel="iteration")
    for axes in (losses, rate):
        axes.grid(alpha=0.3)
    figure.savefig(output / "curves.png", dpi=120)
    return True
