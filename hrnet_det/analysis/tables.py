"""Results of a benchmark as a table, as json and as a plot."""

from __future__ import annotations

import json
import math
import re
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tabulate import tabulate

from hrnet_det.analysis.cases import Case
from hrnet_det.errors import InputError

HEADERS = ("", "ms", "speed / plain", "GMAC", "GFLOP/s", "of peak", "memory MB", "kept MB")


def speed_table(results: dict) -> str:
    """The rows of `benchmark`, one table for each case."""
    peak = ", ".join(f"{rate:,.0f} in {dtype}" for dtype, rate in results["peak"].items())
    environment = ", ".join(f"{key} {value}" for key, value in results["environment"].items())
    parts = [f"{environment}; best convolution, GFLOP/s: {peak}"]
    for case, rows in groupby(results["rows"], key=itemgetter("case")):
        cells = [
            (
                row["form"],
                f"{row['median'] * 1e3:,.0f}",
                f"{row['times_plain']:.2f}",
                _number(row["gmac"], "{:.1f}"),
                _number(row["gflops"], "{:,.0f}"),
                _number(row["of_peak"], "{:.0%}"),
                f"{row['memory'] / 1e6:,.0f}",
                _number(row["activations"], "{:,.0f}", scale=1e-6),
            )
            for row in rows
        ]
        table = tabulate(cells, HEADERS, tablefmt="github", disable_numparse=True)
        parts.append(f"{title(Case(**case))}\n{table}")
    parts += growth(results)
    return "\n\n".join(parts)


def growth(results: dict) -> list[str]:
    """How the time of each form that was measured at several sizes grows with the megapixels."""
    lines = []
    for (what, form), points in _by_form(results).items():
        (small, quick), (large, slow) = min(points), max(points)
        if large > small:
            power = math.log(slow / quick) / math.log(large / small)
            span = f"from {small:.2f} to {large:.2f} megapixels"
            lines.append(f"{what}, {form}: time grows with megapixels^{power:.2f} {span}")
    return lines


def write(results: dict, folder: str | Path) -> list[Path]:
    """Write benchmark.json and benchmark.png, time against megapixels; returns their paths."""
    from matplotlib.figure import Figure  # without pyplot: no backend is chosen

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(results, indent=1) + "\n")
    titles = list(dict.fromkeys(what for what, _ in _by_form(results)))
    figure = Figure(figsize=(5.5 * len(titles), 4.5), layout="constrained")
    axes = figure.subplots(1, len(titles), squeeze=False)
    for axis, what in zip(axes[0], titles, strict=True):
        for (of, form), points in _by_form(results).items():
            if of == what:
                axis.plot(*zip(*sorted(points), strict=True), marker="o", label=form)
        axis.set(title=what, xlabel="megapixels in a batch", ylabel="seconds", ylim=0, xlim=0)
        axis.legend()
    figure.savefig(folder / "benchmark.png", dpi=100)
    return [folder / "benchmark.json", folder / "benchmark.png"]


def title(case: Case) -> str:
    """A line that names the case."""
    height, width = case.size
    what = f"{case.variant} {case.part}, {case.mode}"
    return f"{what}, {height}x{width}, batch {case.batch}"


def parse_size(text: str) -> tuple[int, int]:
    """Height and width of "800x1216". Raises: InputError if it is no such text."""
    found = re.fullmatch(r"(\d{1,9})x(\d{1,9})", text)
    if not found:
        raise InputError(f"size {text!r}: give height x width in pixels, such as 800x1216")
    return int(found[1]), int(found[2])


def _by_form(results: dict) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """(megapixels, seconds) of each form of each part, variant and mode."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in results["rows"]:
        case = row["case"]
        what = f"{case['variant']} {case['part']}, {case['mode']}"
        megapixels = case["batch"] * case["size"][0] * case["size"][1] / 1e6
        found.setdefault((what, row["form"]), []).append((megapixels, row["median"]))
    return found


def _number(value: float | None, form: str, *, scale: float = 1.0) -> str:
    return "-" if value is None else form.format(value * scale)
