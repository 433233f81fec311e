"""The tables of docs/speed.md: what is run, and what is written of its results."""

import json
from pathlib import Path

import pytest
from helpers.tiny import REPO

from hrnet_det.arguments import build_parser
from hrnet_det.errors import InputError
from tools import speed

MACHINE = {"device": "a CPU", "threads": 2, "torch": "2.9", "instructions": ["AVX2"]}
MACHINE |= {"torch uses": "AVX2", "limits": []}


def row(form, seconds, *, plain=1.0, variant="w18", size=(512, 512), **others):
    precision = form.split()[-1] if form[-1].isdigit() else "float32"
    case = {"part": "pyramid", "mode": "inference", "variant": variant, "size": size, "batch": 1}
    case["mode"] = others.pop("mode", "inference")
    made = {"case": case, "form": form, "precision": precision, "median": seconds}
    made |= {"seconds": [seconds], "times_plain": plain / seconds, "gmac": None, "gflops": None}
    return made | {
        "of_peak": None,
        "difference": None,
        "memory": None,
        "activations": None,
        **others,
    }


def results(*rows, **others):
    peak = {"float32": 200.0}
    return {"environment": MACHINE, "notes": [], "peak": peak, "rows": list(rows), **others}


def cells(table):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_forms_stand_in_rows_and_cases_in_columns():
    one = results(
        row("plain", 1.0, of_peak=0.3),
        row("optimised float32", 0.5, of_peak=0.6),
        row("plain", 3.0, plain=3.0, variant="w32", of_peak=0.4),
    )
    other = results(row("plain", 9.0), row("torch.compile float32", 0.8))
    table = cells(speed.compared(one, other))
    assert table[0][1:] == [
        *("W18, 512x512: ms", "W18, 512x512: times plain", "W18, 512x512: of fastest conv."),
        *("W32, 512x512: ms", "W32, 512x512: times plain", "W32, 512x512: of fastest conv."),
    ]
    assert table[2:] == [
        ["plain", "1,000", "1.00", "30%", "3,000", "1.00", "40%"],
        ["optimised float32", "500", "2.00", "60%", "-", "-", "-"],
        ["torch.compile float32", "800", "1.25", "-", "-", "-", "-"],
    ]


def test_the_fastest_of_each_precision_is_named():
    found = results(
        row("plain", 1.0),
        row("timm bfloat16", 0.1),
        row("optimised float32", 0.5),
        row("openvino float32", 0.4),
        row("optimised bfloat16", 0.25),
        row("resnet50_fpn", 0.01),
    )
    expected = "The fastest, times plain: W18 openvino float32 2.50, optimised bfloat16 4.00."
    assert speed.best(found) == expected


def test_a_training_has_speed_and_what_is_kept():
    forms = {"plain": (0.8, 5e6), "timm": (1.6, 6e6), "trained float32": (0.4, 3e6)}
    modes = ("training", "training with trained norms")
    rows = [
        row(form, seconds, mode=mode, activations=kept)
        for mode in modes
        for form, (seconds, kept) in forms.items()
    ]
    table = cells(speed.trained(results(*rows)))
    assert table[2:] == [
        ["W18, fixed", "1,600", "2.00", "4.00", "6 MB", "3 MB"],
        ["W18, trained", "1,600", "2.00", "4.00", "6 MB", "3 MB"],
    ]
    assert table[0][2:] == [
        *("plain: times as fast", "float32: times as fast", "timm keeps", "float32 keeps")
    ]


def test_all_commands_can_be_parsed():
    for run in speed.RUNS.values():
        assert build_parser().parse_args(run.command()[1:]).command == "benchmark"
    assert speed.RUNS["avx2"].shown.startswith(
        "ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 hrnet-det benchmark --size 512x512 "
    )


def test_a_cpu_without_bfloat16_is_not_asked_for_it(monkeypatch):
    monkeypatch.setattr(speed, "computes_bfloat16", lambda device: False)
    words = speed.RUNS["engines"].command()
    assert "bfloat16" not in words and {"float32", "int8"} <= set(words)


@pytest.fixture
def output(tmp_path):
    """A folder with results of all runs."""
    sides = ((512, 512), (800, 1216))
    made = [row(f, s, size=size) for size in sides for f, s in (("plain", 1), ("timm", 2))]
    for each in made:
        each["activations"] = 1e6
    layer = {"name": "3x3, 18 to 18", "count": 2, "gmac": 1.0, "seconds": 0.5}
    whole = row("optimised float32", 0.5)
    apart = {"case": whole["case"], "layers": [layer]}
    for name in speed.RUNS:
        folder = tmp_path / name
        folder.mkdir()
        of = [made[0], whole, *made[1:]] if name == "engines" else made
        text = json.dumps(results(*of, layers=[apart] if name == "engines" else []))
        (folder / "benchmark.json").write_text(text)
        (folder / "benchmark.png").write_bytes(b"a plot")
    return tmp_path


def test_the_page_gets_its_tables_and_its_plot(output, tmp_path):
    page = tmp_path / "docs" / "speed.md"
    (page.parent / "images").mkdir(parents=True)
    page.write_text((REPO / speed.PAGE).read_text())
    speed.main(["--tables", "--output", str(output), "--page", str(page)])
    text = page.read_text()
    assert (page.parent / "images" / "speed.png").read_bytes() == b"a plot"
    for run in speed.RUNS.values():
        assert f"\n{run.shown}\n" in text
    assert "\n\n![Seconds, and milliseconds for each megapixel" in text
    assert "(images/speed.png)\n" in text
    assert "\n\n| convolutions alone | number |" in text  # or it would be no table
    assert "\n\n| | 512x512 | 800x1216 | exponent |\n" in text
    assert "a CPU, 2 threads, torch 2.9; instructions: AVX2 (torch uses AVX2)" in text


def test_what_has_not_been_measured_is_named(tmp_path):
    with pytest.raises(InputError, match=r"benchmark.json: python -m tools.speed --only avx2"):
        speed.read("avx2", Path(tmp_path))
