"""Engines of a benchmark: which are measured, that all compute the same, and what is left out."""

import importlib.util

import pytest
import torch

from hrnet_det.analysis import engines
from hrnet_det.analysis.against import build_other
from hrnet_det.analysis.cases import Case, build_inputs, gmac_of
from hrnet_det.analysis.forms import build_forms, difference
from hrnet_det.analysis.models import batch_of_images, build_detector
from hrnet_det.errors import InputError

CPU_ENGINES = ("torch", "onnxruntime", "openvino")


@pytest.fixture
def not_installed(monkeypatch):
    """A function that takes packages away."""
    find = importlib.util.find_spec

    def remove(*names):
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name in names else find(name)
        )

    return remove


def test_every_engine_gives_the_maps_of_the_plain_network():
    case = Case("pyramid", "inference", "w18_small_v1", (64, 96))
    forms = build_forms(case, "cpu", engines=CPU_ENGINES, precisions=("float32", "int8"))
    names = ["plain", "timm", "optimised float32"]
    names += ["onnxruntime float32", "onnxruntime int8", "openvino float32", "openvino int8"]
    assert list(forms) == names
    inputs = build_inputs(case, "cpu")
    with torch.no_grad():
        maps = {name: form.model(inputs) for name, form in forms.items()}
    assert list(maps["plain"]) == ["p2", "p3", "p4", "p5", "p6"]
    for name, found in maps.items():
        assert {k: x.shape for k, x in found.items()} == {
            k: x.shape for k, x in maps["plain"].items()
        }, name
        different = difference(maps["plain"], found)
        assert 0.01 < different < 0.3 if name.endswith("int8") else different < 2e-5, name
    assert all(forms[name].start > 0 for name in names[2:])


def test_a_whole_detector_is_run_from_a_file():
    case = Case("detector", "inference", "w18", (64, 96))
    forms = build_forms(case, "cpu", engines=("onnxruntime",), precisions=("float32",))
    found = forms["onnxruntime float32"].model(build_inputs(case, "cpu"))
    assert {"image", "boxes", "scores", "classes"} <= set(found)
    assert len(found["boxes"]) == len(found["scores"])


def test_the_difference_is_that_of_the_worst_level_as_a_part_of_its_largest_value():
    expected = {"p2": torch.tensor([10.0, -2.0]), "p3": torch.tensor([0.5, 0.25])}
    found = {"p2": torch.tensor([11.0, -2.0]), "p3": torch.tensor([0.5, 0.0])}
    assert difference(expected, found) == pytest.approx(0.5)
    assert difference([], found) is None  # a detector's objects


def test_the_default_is_what_is_installed_and_starts_soon(not_installed):
    names, notes = engines.chosen_engines(None, "cpu")
    assert names == list(CPU_ENGINES)
    assert notes == [
        "compile is left out: it takes minutes to start: "
        "--engine torch compile onnxruntime openvino"
    ]
    not_installed("openvino")
    names, notes = engines.chosen_engines(None, "cpu")
    assert names == ["torch", "onnxruntime"]
    assert notes[1:] == [
        "openvino is left out: openvino is not installed: pip install 'hrnet_det[openvino]'"
    ]
    names, notes = engines.chosen_engines(None, "cuda")
    assert names == ["torch"] and len(notes) == 3


def test_what_is_named_and_cannot_be_measured_is_an_error(not_installed):
    assert engines.chosen_engines(("compile",), "cpu") == (["compile"], [])
    with pytest.raises(InputError, match="engine openvino: it is measured on a CPU alone"):
        engines.chosen_engines(("openvino",), "cuda")
    not_installed("onnxruntime")
    with pytest.raises(InputError, match="engine onnxruntime: onnxruntime is not installed: pip"):
        engines.chosen_engines(("onnxruntime",), "cpu")


def test_precisions_are_those_of_the_device(monkeypatch):
    monkeypatch.setattr(engines, "computes_bfloat16", lambda device: True)
    assert engines.chosen_precisions(None, "cpu") == (["float32", "bfloat16"], [])
    monkeypatch.setattr(engines, "computes_bfloat16", lambda device: False)
    names, notes = engines.chosen_precisions(None, "cpu")
    assert names == ["float32"]
    assert notes[0].startswith("bfloat16 is left out: this CPU has no instructions for it")
    with pytest.raises(InputError, match="precision bfloat16: this CPU has no instructions"):
        engines.chosen_precisions(("bfloat16",), "cpu")


def test_the_other_network_is_detectron2s_own():
    pyramid = build_other("resnet50_fpn", "pyramid", "cpu")
    resnet = 25_557_032 - 2_049_000 - 53_120  # without its classifier and its norms
    lateral = (256 + 512 + 1024 + 2048) * 256 + 4 * 256
    levels = 4 * (256 * 256 * 9 + 256)
    assert sum(p.numel() for p in pyramid.parameters()) == resnet + lateral + levels
    case = Case("pyramid", "inference", "w18", (64, 96))
    maps = pyramid.eval()(build_inputs(case, "cpu"))
    assert {name: tuple(x.shape[1:]) for name, x in maps.items()} == {
        "p2": (256, 16, 24),
        "p3": (256, 8, 12),
        "p4": (256, 4, 6),
        "p5": (256, 2, 3),
        "p6": (256, 1, 2),
    }
    assert all(0.01 < x.std() < 100 for x in maps.values())
    cells = (16 * 24, 8 * 12, 4 * 6, 2 * 3)
    widths = (256, 512, 1024, 2048)
    laterals = sum(n * width * 256 for n, width in zip(cells, widths, strict=True))
    work = 3.86e9 * (64 * 96) / 224**2 + laterals + sum(cells) * 256 * 256 * 9  # He et al.: 3.8
    assert gmac_of(case, pyramid, build_inputs(case, "cpu")) == pytest.approx(work / 1e9, rel=5e-3)


def test_both_detectors_have_as_many_boxes_to_look_at():
    rows = batch_of_images(1, (224, 224), "cpu")
    ours = build_detector("w18", "cpu", norm_eval=True)
    for detector in (ours, build_other("resnet50_fpn", "detector", "cpu")):
        images = detector.eval().preprocess_image(rows)
        with torch.no_grad():
            maps = detector.backbone(images.tensor)
            (proposals,), _ = detector.proposal_generator(images, maps, None)
        assert len(proposals) == 1000
