"""What images of several sizes cost: time against pixels, as a table, in words and as a plot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tabulate import tabulate

LINEAR = 0.1  # what an exponent may differ from 1 by, where time is still called linear
LOOKS = {"bfloat16": ("s", "--"), "int8": ("^", ":")}  # marker and line; an engine has a colour

Points = list[tuple[float, float]]  # (megapixels in a batch, seconds), by megapixels


def points(results: dict) -> dict[str, dict[str, Points]]:
    """Each form's points in each part of a network, such as "w18 pyramid, inference"."""
    found: dict[str, dict[str, dict[float, float]]] = {}
    for row in results["rows"]:
        megapixels = _megapixels(row["case"])
        found.setdefault(_what(row["case"]), {}).setdefault(row["form"], {})[megapixels] = row[
            "median"
        ]
    return {
        what: {form: sorted(each.items()) for form, each in forms.items()}
        for what, forms in found.items()
    }


def exponent(measured: Points) -> float:
    """That of the power of the pixels that fits the seconds best: 1 where time is linear."""
    megapixels, seconds = np.log(measured).T
    return float(np.polyfit(megapixels, seconds, 1)[0])


def growth_tables(results: dict) -> Iterator[str]:
    """Of each part that was measured at several sizes a table, and what it says in a line."""
    sizes: dict[str, dict[float, str]] = {}
    for row in results["rows"]:
        height, width = row["case"]["size"]
        sizes.setdefault(_what(row["case"]), {})[_megapixels(row["case"])] = f"{height}x{width}"
    for what, forms in points(results).items():
        if len(sizes[what]) < 2:
            continue
        powers = {form: exponent(measured) for form, measured in forms.items()}
        rows = [
            (form, *(_cell(*point) for point in measured), f"{powers[form]:.2f}")
            for form, measured in forms.items()
        ]
        headers = ("", *(size for _, size in sorted(sizes[what].items())), "exponent")
        table = tabulate(rows, headers, tablefmt="github", disable_numparse=True)
        about = f"{what}: cost against image size, in ms (and ms per megapixel)"
        yield f"{about}\n{table}\n{_said(powers)}"


def draw_growth(results: dict, path: Path) -> None:
    """Draw time, and below it time per megapixel, against the megapixels of a batch."""
    from matplotlib.figure import Figure  # without pyplot: no backend is chosen

    parts = points(results)
    figure = Figure(figsize=(5.5 * len(parts) + 1.5, 7.5), layout="constrained")
    axes = figure.subplots(2, len(parts), squeeze=False, sharex="col")
    for (above, below), (what, forms) in zip(axes.T, parts.items(), strict=True):
        engines = list(dict.fromkeys(form.split()[0] for form in forms))
        for form, measured in forms.items():
            megapixels, seconds = np.array(measured).T
            engine, precision = form.split()[0], form.split()[-1]
            marker, line = LOOKS.get(precision, ("o", "-"))
            style = {"color": f"C{engines.index(engine)}", "marker": marker, "linestyle": line}
            above.plot(megapixels, seconds, label=form, **style)
            below.plot(megapixels, seconds * 1e3 / megapixels, **style)
        above.set(title=what, ylabel="seconds", ylim=0, xlim=0)
        below.set(xlabel="megapixels in a batch", ylabel="ms per megapixel", ylim=0)
        for axis in (above, below):
            axis.grid(alpha=0.3)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=100)


def _what(case: dict) -> str:
    return f"{case['variant']} {case['part']}, {case['mode']}"


def _megapixels(case: dict) -> float:
    return case["batch"] * case["size"][0] * case["size"][1] / 1e6


def _cell(megapixels: float, seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ({seconds * 1e3 / megapixels:,.0f})"


def _said(powers: dict[str, float]) -> str:
    """Whether time is linear in the pixels."""
    faster = [f"{form} ({power:.2f})" for form, power in powers.items() if power > 1 + LINEAR]
    if faster:
        return f"Time grows faster than the pixels in: {', '.join(faster)}."
    span = f"the exponents are from {min(powers.values()):.2f} to {max(powers.values()):.2f}"
    if min(powers.values()) < 1 - LINEAR:
        return f"Time grows no faster than the pixels: {span}."
    return f"Time is linear in the pixels: {span}."
