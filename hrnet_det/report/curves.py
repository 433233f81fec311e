"""Losses and learning rate of a training as an image."""

from __future__ import annotations

from pathlib import Path

from hrnet_det.errors import InputError
from hrnet_det.report.history import RATE, TOTAL, VALIDATION, read_history


def draw_curves(output: Path) -> bool:
    """Losses and learning rate from output/metrics.json to output/curves.png; False if too few.

    Losses on the test set (TEST.LOSS) are dashed, in the colour of the same loss in training.
    """
    from matplotlib.figure import Figure  # without pyplot: no backend is chosen

    try:
        history = read_history(output / "metrics.json")
    except InputError:  # without one row
        return False
    if len(history.curve(TOTAL)) < 2:
        return False
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for name in [TOTAL, *history.losses]:
        total, trained = name == TOTAL, history.curve(name)
        (line,) = losses.plot(trained.iterations, trained.values, label=name, lw=2 if total else 1)
        if tested := history.curve(f"{VALIDATION}{'total' if total else name}"):
            style = {"color": line.get_color(), "lw": line.get_linewidth(), "ms": 3}
            label = "on the test set" if total else None
            losses.plot(tested.iterations, tested.values, "o--", label=label, **style)
    losses.set(ylabel="loss", yscale="log")
    losses.legend(fontsize="small", ncols=2)
    losses.grid(alpha=0.3)
    learning = history.curve(RATE)
    rate.plot(learning.iterations, learning.values, color="black")
    rate.set(ylabel="learning rate", xlabel="iteration")
    rate.grid(alpha=0.3)
    figure.savefig(output / "curves.png", dpi=120)
    return True
