"""The tables of docs/speed.md: `python -m tools.speed` measures all and writes them.

About 15 minutes on two cores, which should do nothing else. Each run is a process of its own;
--only measures some again, --tables none.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from hrnet_det.analysis.against import AGAINST
from hrnet_det.analysis.engines import computes_bfloat16
from hrnet_det.analysis.growth import growth_tables
from hrnet_det.analysis.tables import layers_tables, machine_lines, speed_table
from hrnet_det.errors import InputError
from tools import tables
from tools.tables import markdown

PAGE = Path("docs/speed.md")
PLOT = Path("images/speed.png")  # beside the page
ABOUT = "Seconds, and milliseconds for each megapixel, against the megapixels of an image"
OUTPUT = Path("output/speed")
FAST = "--engine torch openvino --precision float32"
AVX2 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}


@dataclass(frozen=True)
class Run:
    """A call of `hrnet-det benchmark`.

    Args:
        words: its options; bfloat16 is left out where the CPU does not compute in it.
        limits: variables of the environment.
    """

    words: str
    limits: Mapping[str, str] = field(default_factory=dict)

    def command(self) -> list[str]:
        words = shlex.split(self.words)
        if not computes_bfloat16("cpu"):
            words = [word for word in words if word != "bfloat16"]
        return ["hrnet-det", "benchmark", *words]

    @property
    def shown(self) -> str:
        """As it is typed."""
        return " ".join(
            (*(f"{key}={value}" for key, value in self.limits.items()), shlex.join(self.command()))
        )


RUNS = {
    "engines": Run(
        "--size 512x512 --engine torch onnxruntime openvino --precision float32 bfloat16 int8 "
        "--against resnet50_fpn --layers --rounds 3"
    ),
    "compile": Run("--variant w18 --size 512x512 --engine torch compile --rounds 3"),
    "detector": Run(
        "--part detector --variant w18 --size 800x1216 --engine torch onnxruntime openvino "
        "--against resnet50_fpn --rounds 3"
    ),
    "avx2": Run(f"--size 512x512 {FAST} --rounds 3", AVX2),
    "sizes": Run(f"--variant w18 --size 256x256 512x512 800x1216 1088x1920 {FAST} --rounds 3"),
    "training": Run(
        "--mode training 'training with trained norms' --size 512x512 --rounds 1",
    ),
}


def measure(name: str, output: Path) -> None:
    """Run one of RUNS; its files go to a folder of its name."""
    run = RUNS[name]
    command = [sys.executable, "-m", "hrnet_det.cli", *run.command()[1:]]
    command += ["--output", str(output / name)]
    print(run.shown, flush=True)
    subprocess.run(command, env=os.environ | run.limits, check=True)


def read(name: str, output: Path) -> dict:
    """Results of a run. Raises: InputError if it has not been made."""
    path = output / name / "benchmark.json"
    if not path.is_file():
        raise InputError(f"there is no {path}: python -m tools.speed --only {name}")
    return json.loads(path.read_text())


def block(names: Sequence[str], output: Path, *made: str) -> str:
    """Commands, what was measured on, and tables."""
    commands = "\n".join(RUNS[name].shown for name in names)
    machine = "; ".join(machine_lines(read(names[0], output)))
    return "\n\n".join((f"```bash\n{commands}\n```", f"{machine}.", *made))


def compared(*results: dict) -> str:
    """A row for each form, columns for each case; later results add the forms that others lack."""
    cases: dict[str, dict[str, dict]] = {}
    for row in (row for each in results for row in each["rows"]):
        case = row["case"]
        name = f"{case['variant'].upper()}, {'x'.join(map(str, case['size']))}"
        cases.setdefault(name, {}).setdefault(row["form"], row)
    forms = dict.fromkeys(form for rows in cases.values() for form in rows)
    heads = ["", *(f"{name}: {what}" for name in cases for what in COMPARED)]
    cells = [
        [form, *(shown(rows.get(form)) for rows in cases.values() for shown in COMPARED.values())]
        for form in forms
    ]
    return markdown(cells, heads)


def _cell(show: Callable[[dict], str]) -> Callable[[dict | None], str]:
    return lambda row: "-" if row is None else show(row)


COMPARED = {
    "ms": _cell(lambda row: f"{row['median'] * 1e3:,.0f}"),
    "times plain": _cell(lambda row: f"{row['times_plain']:.2f}"),
    "of fastest conv.": _cell(
        lambda row: "-" if row["of_peak"] is None else f"{row['of_peak']:.0%}"
    ),
}


def best(results: dict) -> str:
    """A line: the fastest form of ours in each precision of each case."""
    lines = []
    for case, rows in groupby(results["rows"], key=itemgetter("case")):
        of: dict[str, list[dict]] = {}
        for row in rows:
            if row["form"].split()[0] not in ("plain", "timm", *AGAINST):
                of.setdefault(row["precision"], []).append(row)
        fastest = (max(group, key=itemgetter("times_plain")) for group in of.values())
        found = ", ".join(f"{row['form']} {row['times_plain']:.2f}" for row in fastest)
        lines.append(f"{case['variant'].upper()} {found}")
    return f"The fastest, times plain: {'; '.join(lines)}."


def trained(results: dict) -> str:
    """A row for each case of training, with what is kept for the backward pass."""
    rows, names = [], []
    for case, group in groupby(results["rows"], key=itemgetter("case")):
        of = {row["form"].removeprefix("trained "): row for row in group}
        names = list(of)
        norms = "trained" if "trained" in case["mode"] else "fixed"
        timm = of["timm"]["median"]
        speeds = [f"{timm / of[name]['median']:.2f}" for name in names if name != "timm"]
        kept = [f"{of[name]['activations'] / 1e6:,.0f} MB" for name in names if name != "plain"]
        rows.append([f"{case['variant'].upper()}, {norms}", f"{timm * 1e3:,.0f}", *speeds, *kept])
    heads = ["network, norms", "timm: ms"]
    heads += [f"{name}: times as fast" for name in names if name != "timm"]
    heads += [f"{name} keeps" for name in names if name != "plain"]
    return markdown(rows, heads)


def spaced(text: str) -> str:
    """What the command prints as Markdown: tables stand between empty lines, without padding."""
    lines = [re.sub("-{3,}", "---", re.sub(" +", " ", line)) for line in text.splitlines()]
    groups = groupby(lines, key=lambda line: line.startswith("|"))
    return "\n\n".join("\n".join(group) for _, group in groups)


def page_tables(output: Path) -> dict[str, Callable[[], str]]:
    """What stands between the marks of the page, by the name in these."""

    def engines() -> str:
        results = read("engines", output)
        both = compared(results, read("compile", output))
        return block(("engines", "compile"), output, both, best(results))

    def limits() -> str:
        found = layers_tables(read("engines", output))
        return "\n\n".join(spaced(text) for text in found)

    def plain_block(name: str) -> str:
        results = read(name, output)
        return block((name,), output, compared(results), best(results))

    def sizes() -> str:
        results = read("sizes", output)
        made = [spaced(text) for text in growth_tables(results)]
        return block(("sizes",), output, *made, f"![{ABOUT}]({PLOT})")

    def detector() -> str:
        text = speed_table(read("detector", output)).partition("batch 1\n")[2]
        return block(("detector",), output, spaced(text))

    return {
        "engines": engines,
        "limits": limits,
        "avx2": lambda: plain_block("avx2"),
        "detector": detector,
        "sizes": sizes,
        "training": lambda: block(("training",), output, trained(read("training", output))),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="tools.speed", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--tables", action="store_true", help="write the tables, measure nothing")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="(%(default)s)")
    parser.add_argument("--page", type=Path, default=PAGE, help="(%(default)s)")
    args = parser.parse_args(argv)
    if not args.tables:
        for name in args.only:
            measure(name, args.output)
    tables.write(args.page, page_tables(args.output))
    plot = args.page.parent / PLOT
    shutil.copyfile(args.output / "sizes" / "benchmark.png", plot)
    print(f"written: {args.page}, {plot}")


if __name__ == "__main__":
    main()
