"""Results of a benchmark as tables, as json and as a plot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from tabulate import tabulate

from hrnet_det.analysis.against import AGAINST
from hrnet_det.analysis.cases import Case
from hrnet_det.analysis.growth import draw_growth, growth_tables
from hrnet_det.analysis.layers import WHOLE, Layer, layers_table
from hrnet_det.errors import InputError

# Columns: what is shown of a row, by its header. One that no row of a table has is left out.
COLUMNS: dict[str, Callable[[dict], str]] = {
    "ms": lambda row: f"{row['median'] * 1e3:,.0f}",
    "speed / plain": lambda row: f"{row['times_plain']:.2f}",
    "GMAC": lambda row: _number(row["gmac"], "{:.1f}"),
    "GFLOP/s": lambda row: _number(row["gflops"], "{:,.0f}"),
    "of fastest conv.": lambda row: _number(row["of_peak"], "{:.0%}"),
    "differs by": lambda row: _number(row["difference"], "{:.0e}"),
    "memory MB": lambda row: _number(row["memory"], "{:,.0f}", scale=1e-6),
    "kept MB": lambda row: _number(row["activations"], "{:,.0f}", scale=1e-6),
}
NOTHING = "-"


def speed_table(results: dict) -> str:
    """The rows of `benchmark`: where, one table for each case, and the cost against image size."""
    parts = ["\n".join((*machine_lines(results), *results["notes"]))]
    for case, rows in groupby(results["rows"], key=itemgetter("case")):
        parts.append(f"{title(Case(**case))}\n{_table(list(rows))}")
    return "\n\n".join((*parts, *growth_tables(results), *layers_tables(results)))


def layers_tables(results: dict) -> Iterator[str]:
    """Where the time of each case goes that was taken apart."""
    for found in results.get("layers", ()):
        case = found["case"]
        rows = {row["form"]: row for row in results["rows"] if row["case"] == case}
        table = layers_table(
            [Layer(**layer) for layer in found["layers"]],
            whole=min(rows[WHOLE]["seconds"]),
            plain=min(rows["plain"]["seconds"]),
            peak=results["peak"]["float32"],
        )
        yield f"{title(Case(**case))}, {WHOLE}\n{table}"


def machine_lines(results: dict) -> Iterator[str]:
    """Lines on the machine, its instructions, and its fastest convolution."""
    there = results["environment"]
    yield f"{there['device']}, {there['threads']} threads, torch {there['torch']}"
    if "instructions" in there:
        shown = ", ".join(there["instructions"])
        yield f"instructions: {shown} (torch uses {there['torch uses']})"
        yield from there["limits"]
    peak = ", ".join(f"{rate:,.0f} in {dtype}" for dtype, rate in results["peak"].items())
    yield f"fastest convolution, GFLOP/s: {peak}"


def _table(rows: list[dict]) -> str:
    """Rows of one case."""
    columns = dict(COLUMNS)
    for row in rows:
        if row["form"] in AGAINST:
            columns[f"time / {row['form']}"] = _ratio_to(row["median"])
    cells = {header: [column(row) for row in rows] for header, column in columns.items()}
    shown = {header: of for header, of in cells.items() if set(of) != {NOTHING}}
    lines = zip((row["form"] for row in rows), *shown.values(), strict=True)
    return tabulate(list(lines), ("", *shown), tablefmt="github", disable_numparse=True)


def _ratio_to(seconds: float) -> Callable[[dict], str]:
    return lambda row: f"{row['median'] / seconds:.2f}"


def write(results: dict, folder: str | Path) -> list[Path]:
    """Write benchmark.json, benchmark.md (the tables) and benchmark.png, time against megapixels.

    Returns: their paths.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"benchmark.{end}" for end in ("json", "md", "png")]
    paths[0].write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    paths[1].write_text(speed_table(results) + "\n", encoding="utf-8")
    draw_growth(results, paths[2])
    return paths


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


def _number(value: float | None, form: str, *, scale: float = 1.0) -> str:
    return NOTHING if value is None else form.format(value * scale)
