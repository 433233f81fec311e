"""What is measured, its tables, and the errors of the commands `benchmark` and `plan`."""

import importlib
import json

import pytest
from PIL import Image

from hrnet_det.analysis import Case, benchmark, planning
from hrnet_det.analysis import tables as report
from hrnet_det.cli import main
from hrnet_det.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def small_yardstick():
    """The peak of one small convolution; that of the real ones takes seconds."""
    module = importlib.import_module("hrnet_det.analysis.timing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CONVOLUTIONS", ((16, 32),))
        yield


@pytest.fixture(scope="module")
def results():
    sizes = ((64, 64), (64, 128))
    cases = [Case("pyramid", "inference", "w18_small_v1", size) for size in sizes]
    cases += [Case("backbone", "training", "w18_small_v1", (64, 64))]
    cases += [Case("detector", "inference", "w18", (64, 64))]
    return benchmark(
        cases, rounds=1, precisions=("float32",), against=("resnet50_fpn",), layers=True
    )


def test_every_form_of_every_case_is_in_the_results(results):
    assert len(json.loads(json.dumps(results))["rows"]) == len(results["rows"])
    forms = {}
    for row in results["rows"]:
        forms.setdefault((row["case"]["part"], row["case"]["mode"]), set()).add(row["form"])
    assert {"plain", "timm", "optimised float32"} <= forms["pyramid", "inference"]
    assert {"plain", "timm", "optimised float32"} <= forms["detector", "inference"]
    assert {"plain", "timm", "trained float32"} <= forms["backbone", "training"]
    for row in results["rows"]:
        plain = next(r for r in results["rows"] if r["case"] == row["case"])
        assert row["times_plain"] == pytest.approx(plain["median"] / row["median"])
        if row["activations"] is not None:
            assert row["memory"] >= row["activations"] > 0
        if row["gmac"] is not None:
            work = 2 * row["gmac"] / row["median"]
            assert row["gflops"] == pytest.approx(work)


def test_work_grows_with_the_pixels(results):
    small, large = (
        next(r["gmac"] for r in results["rows"] if r["case"]["size"] == size and r["gmac"])
        for size in ((64, 64), (64, 128))
    )
    assert large == pytest.approx(2 * small, rel=0.01)  # p6 of 64 pixels is one cell


def test_the_report_has_a_table_for_each_case_and_the_growth(results, tmp_path):
    table = report.speed_table(results)
    assert "w18_small_v1 pyramid, inference, 64x128, batch 1" in table
    assert "w18_small_v1 pyramid, inference: cost against image size" in table
    for size in ("64x64", "64x128"):  # the detector and the training are not taken apart
        assert f"w18_small_v1 pyramid, inference, {size}, batch 1, optimised float32\n" in table
    assert table.count("convolutions alone") == 2
    detector = table.partition("w18 detector, inference, 64x64")[2].split("\n\n")[0]
    assert detector.splitlines()[1].endswith("| time / resnet50_fpn   |")
    last = detector.splitlines()[-1].split()
    assert (last[1], last[-2]) == ("resnet50_fpn", "1.00")
    paths = report.write(results, tmp_path / "new")
    assert [path.name for path in paths] == ["benchmark.json", "benchmark.md", "benchmark.png"]
    assert json.loads(paths[0].read_text())["peak"]["float32"] > 0
    assert paths[1].read_text() == f"{table}\n"
    with Image.open(paths[2]) as plot:
        assert plot.size == (100 * (3 * 5.5 + 1.5), 750)  # three parts were measured


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark", "--variant", "w99"], "variant 'w99'; known: w18_small_v1"),
        (["benchmark", "--size", "100x100"], "size 100x100: multiples of 32, 64 or more"),
        (["benchmark", "--size", "big"], "size 'big': give height x width in pixels"),
        (["benchmark", "--part", "neck"], "part 'neck'; known: backbone, pyramid, detector"),
        (["benchmark", "--mode", "fast"], "mode 'fast'; known: inference, training"),
        (["benchmark", "--batch", "0"], "--batch: '0': give a whole number of at"),
        (
            ["benchmark", "--rounds", "0"],
            "--rounds: '0': give a whole number of at",
        ),
        (["benchmark", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (
            ["benchmark", "--mode", "training", "--engine", "torch", "compile"],
            "--engine compile is for --mode inference, which is not measured",
        ),
        (
            ["benchmark", "--engine", "tvm"],
            "engine 'tvm'; known: torch, compile, onnxruntime, openvino",
        ),
        (["benchmark", "--precision", "int3"], "precision 'int3'; known: float32, bfloat16"),
        (["benchmark", "--against", "vgg"], "--against 'vgg'; known: resnet50_fpn"),
        (["benchmark", "--layers", "--part", "detector"], "--layers is for --mode inference of a"),
        (
            ["benchmark", "--layers", "--precision", "bfloat16"],
            "--layers is for the convolutions of --engine torch --precision float32",
        ),
        (["plan", "--config-file", "nothing.yaml"], "nothing.yaml is neither a file nor"),
        (["plan", "--config", "hrnetv2p_mask_rcnn", "--memory", "lots"], "memory 'lots': give"),
        (
            ["plan", "--config", "hrnetv2p_mask_rcnn", "--batch", "0"],
            "--batch: '0': give a whole number of at",
        ),
        (
            ["plan", "--config", "hrnetv2p_mask_rcnn", "--size", "9x9"],
            "size 9x9: 64 pixels or more",
        ),
    ],
)
def test_errors_say_what_is_allowed(words, message, capsys):
    try:
        status = main(words)
    except SystemExit as end:  # of argparse
        status = end.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_the_commands(capsys, tmp_path):
    words = ["benchmark", "--variant", "w18_small_v1", "--size", "64x64", "--rounds", "1"]
    words += ["--engine", "torch", "--precision", "float32", "--output", str(tmp_path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"written: {tmp_path / 'benchmark.json'}" in said
    assert "\ninstructions: " in said and "| optimised float32 " in said
    words = ["plan", "--config-file", "quickstart/faster_rcnn.yaml", "--size", "64x64"]
    assert main([*words, "--batch", "1", "MODEL.DEVICE", "cpu"]) == 0
    assert "| balanced " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "planned", "said"),
    [
        ("65x400", (96, 416), ["Images of 65x400 are padded to multiples of 32."]),
        ("96x416", (96, 416), []),
    ],
)
def test_a_plan_rounds_the_size_up_and_says_so(size, planned, said, capsys, monkeypatch):
    sizes = []
    monkeypatch.setattr(planning, "plan", lambda run, size: sizes.append(size) or [])
    words = ["plan", "--config-file", "quickstart/faster_rcnn.yaml", "--size", size]
    assert main(words) == 0
    assert sizes == [planned]
    *padded, title = capsys.readouterr().out.split("\n|")[0].splitlines()
    assert padded == said
    assert title == "quickstart/faster_rcnn.yaml, images of 96x416 on each GPU (or the CPU)"


def test_sizes_are_checked_before_anything_is_built():
    with pytest.raises(InputError, match="size 32x64"):
        Case("pyramid", "inference", "w18", (32, 64))
