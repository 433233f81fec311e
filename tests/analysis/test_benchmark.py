"""Counted memory, the compared models, tables, and the errors of the two commands."""

import json

import pytest
import torch
from detectron2.utils.events import EventStorage
from helpers.tiny import TINY
from torch import nn

from hrnet_det import model_zoo
from hrnet_det.analysis import Case, benchmark, compare_checkpointing
from hrnet_det.analysis import tables as report
from hrnet_det.analysis.checkpointing import RECOMPUTABLE
from hrnet_det.analysis.memory import LiveBytes, activation_bytes, peak_bytes
from hrnet_det.analysis.models import batch_of_images, build_pyramid, with_naive_pyramid
from hrnet_det.analysis.planning import largest_size, parse_memory, plan, plan_table
from hrnet_det.cli import main
from hrnet_det.config.load import as_run
from hrnet_det.engine.accumulation import GradientAccumulation
from hrnet_det.errors import InputError

CPU = torch.device("cpu")


def test_live_bytes_are_counted_while_they_live():
    x = torch.zeros(1000)
    with LiveBytes() as counted:
        y = x + 1
        assert (counted.live, counted.peak) == (4000, 4000)
        z = y.view(10, 100)  # the same memory
        z = z.double()
        assert (counted.live, counted.peak) == (12000, 12000)
        del z
        assert (counted.live, counted.peak) == (4000, 12000)
        y.add_(x)  # in place; x was there before
        assert counted.live == 4000


def test_activations_are_what_the_backward_pass_needs():
    net = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5, bias=False))
    x = torch.randn(100, 10)
    # the linear layer's 100x20 is freed after the ReLU, which keeps its result; then 100x5
    assert activation_bytes(lambda: net(x)) == 4 * 100 * (20 + 5)
    assert peak_bytes(lambda: net(x), CPU) == 4 * 100 * (20 + 20)


def test_the_naive_pyramid_computes_the_same():
    pytest.importorskip("timm")
    ours = build_pyramid("w18_small_v1", "cpu", norm_eval=True).eval().double()
    naive = with_naive_pyramid(ours, "w18_small_v1").eval().double()
    x = torch.randn(1, 3, 64, 96, dtype=torch.double)
    with torch.no_grad():
        expected, result = naive(x), ours(x)
    assert list(expected) == list(result)
    for name, level in result.items():
        torch.testing.assert_close(level, expected[name], rtol=1e-9, atol=1e-9)


@pytest.fixture(scope="module")
def results():
    sizes = ((64, 64), (64, 128))
    cases = [Case("pyramid", "inference", "w18_small_v1", size) for size in sizes]
    cases += [Case("backbone", "training", "w18_small_v1", (64, 64))]
    cases += [Case("detector", "inference", "w18", (64, 64))]
    return benchmark(cases, rounds=1)


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
    assert "plain: time grows with megapixels^" in table
    paths = report.write(results, tmp_path / "new")
    assert [path.name for path in paths] == ["benchmark.json", "benchmark.png"]
    assert json.loads(paths[0].read_text())["peak"]["float32"] > 0


def test_growth_is_the_slope_between_the_smallest_and_the_largest():
    case = {"part": "pyramid", "mode": "inference", "variant": "w18", "batch": 1}
    rows = [
        {"case": case | {"size": (1000, side)}, "form": "plain", "median": seconds}
        for side, seconds in ((1000, 1.0), (2000, 1.5), (4000, 8.0))
    ]
    (line,) = report.growth({"rows": rows})
    assert "megapixels^1.50 from 1.00 to 4.00 megapixels" in line


@pytest.mark.parametrize("mode", ["training", "training with trained norms"])
def test_checkpointing_keeps_less(mode):
    case = Case("pyramid", mode, "w18_small_v1", (128, 128))
    rows = compare_checkpointing(case, rounds=1, parts=True)
    kept = {row["name"]: row["activations"] for row in rows}
    assert len(kept) == 2 + len(RECOMPUTABLE) + 2  # timm, none, each part, two levels
    assert kept["smallest"] < kept["balanced"] < kept["none"]
    assert all(kept[name] < kept["none"] for name in kept if name.endswith(" alone"))
    table = report.checkpointing_table(rows)
    assert "| smallest" in table and "| none" in table


@pytest.mark.parametrize("name", ["faster_rcnn", "rpn", "retinanet", "fcos", "semantic"])
def test_plan_predicts_what_a_step_takes(name):
    """Of the tensors in a whole step with real losses, to 15 %."""
    words = ["MODEL.DEVICE", "cpu", "MODEL.HRNET.NORM_EVAL", "False"]
    cfg = model_zoo.get_config(f"quickstart/{name}.yaml", words)
    (none, *_) = plan(as_run(cfg), (256, 256))
    detector = model_zoo.build_detector(cfg).train()
    rows = batch_of_images(2, (256, 256), "cpu")
    for row in rows:
        row["instances"].gt_classes %= cfg.MODEL.ROI_HEADS.NUM_CLASSES
        row["sem_seg"] = torch.zeros(256, 256, dtype=torch.long)

    def step(model, rows):
        detector.zero_grad()
        with EventStorage():
            sum(model(rows).values()).backward()

    trained = sum(p.nbytes for p in detector.parameters() if p.requires_grad)
    there = sum(x.nbytes for x in (*detector.parameters(), *detector.buffers()))
    states = 2 if cfg.SOLVER.OPTIMIZER == "ADAMW" else 1
    there += states * trained
    measured = there + peak_bytes(lambda: step(detector, rows), CPU)
    assert none.bytes(2) == pytest.approx(measured, rel=0.15)
    measured = there + peak_bytes(
        lambda: step(GradientAccumulation(detector, 2), [*rows, *rows]), CPU
    )
    assert none.bytes(2) + none.gradients == pytest.approx(measured, rel=0.15)


def test_a_plan_says_which_batch_fits():
    cfg = model_zoo.get_config("hrnetv2p_mask_rcnn.yaml", [*TINY, "INPUT.MIN_SIZE_TRAIN", "(100,)"])
    assert largest_size(as_run(cfg)) == (128, 96)
    plans = plan(as_run(cfg), (64, 96))
    assert [p.level for p in plans] == ["none", "balanced", "smallest"]
    none = plans[0]
    assert none.largest_batch(none.bytes(2)) == 2 and none.largest_batch(none.bytes(2) - 1) == 1
    assert none.gradients == 4 * sum(
        p.numel() for p in model_zoo.build_detector(cfg).parameters() if p.requires_grad
    )
    assert none.parts(4, none.bytes(4)) == 1
    assert none.parts(4, none.bytes(4) - 1) == 2
    assert none.parts(4, none.bytes(2) + none.gradients - 1) == 4
    assert none.parts(4, none.bytes(1) + none.gradients - 1) == 0
    assert none.parts(10, none.bytes(4) + none.gradients) == 5  # there are no 3 parts of 10
    memory = none.bytes(2) + none.gradients
    table = plan_table(plans[:1], memory=memory, batches=(1, 2), recipe=8)
    *_, last = table.splitlines()
    cells = [cell.strip() for cell in last.strip("|").split("|")]
    gigabytes = [f"{none.bytes(batch) / 1e9:.2f}" for batch in (1, 2)]
    assert cells == ["none", *gigabytes, str(none.largest_batch(memory)), "4"]
    assert "SOLVER.GRADIENT_ACCUMULATION_STEPS for 8 on one GPU" in table


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8e9), ("1.5 GiB", 1.5 * 2**30), ("800mb", 8e8), ("2G", 2e9)]
)
def test_memory_is_parsed(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["benchmark", "--variant", "w99"], "variant 'w99'; known: w18_small_v1"),
        (["benchmark", "--size", "100x100"], "size 100x100: multiples of 32, 64 or more"),
        (["benchmark", "--size", "big"], "size 'big': give height x width in pixels"),
        (["benchmark", "--part", "neck"], "part 'neck'; known: backbone, pyramid, detector"),
        (["benchmark", "--mode", "fast"], "mode 'fast'; known: inference, training"),
        (["benchmark", "--batch", "0"], "batch 0: 1 or more"),
        (["benchmark", "--rounds", "0"], "0 rounds: 1 or more"),
        (["benchmark", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["benchmark", "--mode", "training", "--compile"], "--compile is for --mode inference"),
        (["benchmark", "--checkpointing"], "--part pyramid and a --mode of training"),
        (["plan", "--config-file", "nothing.yaml"], "nothing.yaml is neither a file nor"),
        (["plan", "--config", "hrnetv2p_mask_rcnn", "--memory", "lots"], "memory 'lots': give"),
        (["plan", "--config", "hrnetv2p_mask_rcnn", "--batch", "0"], "batch 0: 1 or more"),
        (["plan", "--config", "hrnetv2p_mask_rcnn", "--size", "9x9"], "size 9x9: multiples of 32"),
    ],
)
def test_errors_say_what_is_allowed(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_the_commands(capsys, tmp_path):
    words = ["benchmark", "--variant", "w18_small_v1", "--size", "64x64", "--rounds", "1"]
    assert main([*words, "--output", str(tmp_path)]) == 0
    assert f"written: {tmp_path / 'benchmark.json'}" in capsys.readouterr().out
    words = ["plan", "--config-file", "quickstart/faster_rcnn.yaml", "--size", "64x64"]
    assert main([*words, "--batch", "1", "MODEL.DEVICE", "cpu"]) == 0
    assert "| balanced " in capsys.readouterr().out


def test_sizes_are_checked_before_anything_is_built():
    with pytest.raises(InputError, match="size 32x64"):
        Case("pyramid", "inference", "w18", (32, 64))
