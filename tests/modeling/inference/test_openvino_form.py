"""Backbones that OpenVINO computes, beside the same in torch."""

import copy
import importlib.util
import os
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.detectors import assert_same, config, detect, detector, rows
from helpers.networks import BFLOAT16, assert_near, hrfpn, images, spread
from helpers.tiny import CLASSES
from torch import nn

from hrnet_det import Detector, HRNet, HRNetVariant
from hrnet_det.config.load import as_run, load_run
from hrnet_det.errors import InputError
from hrnet_det.model_zoo import check_inference_form, inference_form
from hrnet_det.modeling.backbone.fused import FusedConv2d
from hrnet_det.modeling.backbone.hrnetv2 import HRNetV2
from hrnet_det.modeling.inference import openvino_form
from hrnet_det.modeling.inference.finite import images_are_named
from hrnet_det.modeling.inference.openvino_form import MOST_SIZES, OpenVINOBackbone
from hrnet_det.modeling.inference.optimize import check_engine, is_optimized, optimize_for_inference

SMALL = HRNetVariant(widths=(8, 16), stage1_blocks=1, stage1_width=8, blocks=1, modules=(1,))
WIDE = HRNetVariant(widths=(32, 64), stage1_blocks=1, stage1_width=32, blocks=1, modules=(1,))
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no instructions for bfloat16"
)


def small(variant=SMALL, norm="BN", **options):
    """A pyramid of two branches, which OpenVINO compiles in a moment."""
    options |= {
        "in_features": ("hr2", "hr3"),
        "num_levels": 2,
        "norm": "GN" if norm == "GN" else "",
    }
    return hrfpn(HRNet(variant=variant, norm=norm), **options)


def openvino(model, **options):
    return optimize_for_inference(model, engine="openvino", **options)


def own_sizes(form):
    """(H, W) of the networks for one size, the one used latest last."""
    return [tuple(size[-2:]) for size in form._networks.of_size]


def message(call, kind=InputError):
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# --- backbones ---

BACKBONES = {
    "four branches": lambda: hrfpn(out_channels=16),
    "branches": lambda: spread(HRNet(variant=SMALL)).eval(),
    "one-stage": lambda: small(min_level=3, pooling="max", share_conv=True),
    "hrnetv2": lambda: HRNetV2(
        bottom_up=spread(HRNet(variant=SMALL, upsampling="bilinear")).eval()
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BACKBONES)
@torch.no_grad()
def test_it_equals_the_plain_one_at_every_size(kind):
    """Float32 that is float32: bfloat16, which OpenVINO prefers, is 1000 times farther off."""
    model = BACKBONES[kind]()
    form = openvino(model)
    assert isinstance(form, OpenVINOBackbone) and is_optimized(form)
    assert form.output_shape() == model.output_shape()
    assert form.size_divisibility == model.size_divisibility
    d = form.size_divisibility
    for size in ((4 * d, 6 * d), (4 * d, 6 * d), (5 * d - 3, 4 * d - 2), (d, d)):
        assert_near(form(images(*size)), model(images(*size)), 1e-5)
    single = images(5 * d, 4 * d)[:1]
    assert_near(form(single), model(single), 1e-5)


@torch.no_grad()
def test_group_norms_stay_in_torch_and_it_is_said(caplog):
    model = small(variant=WIDE, norm="GN")
    form = openvino(model)
    assert not isinstance(form, OpenVINOBackbone)
    assert caplog.messages == [
        "engine openvino is not used: OpenVINO crashes at this backbone's group norms"
    ]
    assert_near(form(images()), model(images()), 1e-5)


@needs_bfloat16
@torch.no_grad()
def test_bfloat16_is_within_its_rounding():
    model = small()
    form = openvino(model, dtype=torch.bfloat16)
    for size in ((64, 96), (64, 96), (96, 64)):
        result = form(images(*size))
        assert {x.dtype for x in result.values()} == {torch.bfloat16}
        assert_near(result, model(images(*size)), BFLOAT16["BN"])


@torch.no_grad()
def test_a_size_that_comes_twice_in_succession_has_a_network_of_its_own():
    model = small()
    form = openvino(model)
    seen = []
    for side in (64, 96, 64, 64, 96, 64):
        form(images(side, 64))
        seen.append(own_sizes(form))
    assert seen == [[], [], [], [(64, 64)], [(64, 64)], [(64, 64)]]
    for side in (96, 128, 160):
        for _ in range(2):
            assert_near(form(images(side, 64)), model(images(side, 64)), 1e-5)
    form(images(64, 64))  # now 96 is the one not used for the longest time
    for _ in range(2):
        form(images(192, 64))
    assert MOST_SIZES == 4
    assert own_sizes(form) == [(128, 64), (160, 64), (64, 64), (192, 64)]
    assert_near(form(images(96, 64)), model(images(96, 64)), 1e-5)


@torch.no_grad()
def test_results_are_not_overwritten_by_the_next_call():
    model = small()
    form = openvino(model)
    for _ in range(2):
        results = [form(images(64, 64) * k) for k in (1, 2)]
        for k, result in zip((1, 2), results, strict=True):
            assert_near(result, model(images(64, 64) * k), 1e-5)


@torch.no_grad()
def test_images_in_any_order_in_memory_of_which_there_may_be_none():
    model = small()
    form = openvino(model)
    given = images(64, 64).to(memory_format=torch.channels_last)
    for x in (given, given.permute(0, 1, 3, 2), given[:, :, 16:48, 16:48]):
        assert_near(form(x), model(x), 1e-5)
    for name, x in form(given[:0]).items():
        assert x.shape == model(given[:0])[name].shape and len(x) == 0


def test_a_size_that_does_not_fit_is_refused_as_by_the_plain_one():
    model = hrfpn()
    said = message(lambda: model(images(64, 50)), ValueError)
    assert "an image of 64x50 pixels" in said
    assert message(lambda: openvino(model)(images(64, 50)), ValueError) == said


@torch.no_grad()
def test_what_is_not_finite_stays_so():
    """A ReLU of OpenVINO's own says 0 of NaN; of an infinite number the sign may be another."""
    model = small()
    given = images(128, 128)
    given[0, 1, 40, 50] = float("nan")  # its neighbourhood, as far as the network sees, is NaN
    form = openvino(model)
    for _ in range(2):  # by the network of any size, and by the one of this size
        for name, x in model(given).items():
            assert x[0].isnan().any() and not x[1].isnan().any()
            assert torch.equal(form(given)[name].isnan(), x.isnan()), name
    for value in (float("nan"), 1e38):  # weights that are NaN, or so large that maps overflow
        model.bottom_up.layer1[0].conv2.weight.fill_(value)
        assert all(x.isnan().all() for x in model(images()).values())
        assert not any(x.isfinite().any() for x in openvino(model)(images()).values())


@torch.no_grad()
def test_copies_compute_the_same():
    model = small()
    form = openvino(model)
    expected = model(images())
    for _ in range(2):
        assert_near(form(images()), expected, 1e-5)
    for again in (copy.deepcopy(form), pickle.loads(pickle.dumps(form))):
        assert_near(again(images()), expected, 1e-5)
        assert own_sizes(again) == [] and own_sizes(form) == [(64, 96)]
    model.bottom_up.conv1.weight.zero_()  # neither of them follows its source
    assert_near(form(images()), expected, 1e-5)
    assert_near(copy.deepcopy(form)(images()), expected, 1e-5)


@torch.no_grad()
def test_threads_may_share_it():
    model = small()
    form = openvino(model)
    given = [images(*size) for size in ((64, 64), (64, 96), (64, 64), (96, 64)) * 4]
    with ThreadPoolExecutor(4) as threads:
        results = list(threads.map(form, given))
    for x, result in zip(given, results, strict=True):
        assert_near(result, model(x), 1e-5)


HANDLED = """
import os, signal, sys
import torch
from torch import nn
from detectron2.modeling import Backbone
from detectron2.layers import ShapeSpec
from hrnet_det.modeling.inference.openvino_form import OpenVINOBackbone


class Maps(Backbone):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def output_shape(self):
        return {"p2": ShapeSpec(channels=4, stride=1)}

    def forward(self, x):
        return {"p2": self.conv(x)}


for _ in range(3):
    form = OpenVINOBackbone(Maps().eval(), torch.float32)
    for size in (32, 32, 64, 64):
        form(torch.zeros(1, 3, size, size))
del form
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_signals_are_handled_after_networks_have_gone():
    """A core that ends takes a stack for signals with it: each network had one of its own."""
    given = [sys.executable, "-W", "ignore", "-c", HANDLED]
    done = subprocess.run(given, capture_output=True, text=True, env=os.environ)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr[-500:]


@torch.no_grad()
def test_it_has_as_many_threads_as_torch():
    form = openvino(small())
    before = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            form(images(64, 64 * count))
            compiled = form._networks.of_any_size.request.get_compiled_model()
            assert compiled.get_property("INFERENCE_NUM_THREADS") == count
            assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_a_forked_process_is_told(monkeypatch):
    """Its networks would give what happens to be in memory, and new ones would wait for ever."""
    form = openvino(small())
    form(images())
    child = os.getpid() + 1
    monkeypatch.setattr(openvino_form.os, "getpid", lambda: child)
    assert message(lambda: form(images()), RuntimeError) == (
        "OpenVINO has computed in the process that this one was forked from, and cannot in this "
        "one: start processes by spawn, or take engine torch"
    )


def test_it_is_neither_trained_moved_nor_saved():
    form = openvino(small())
    for call, said in (
        (form.train, "optimize_for_inference: train the model that it was given instead"),
        (form.double, "optimize_for_inference: move or convert the model that it was given"),
        (
            form.state_dict,
            "a model made by optimize_for_inference cannot be saved; save its source",
        ),
    ):
        assert message(call, RuntimeError) == said
    assert message(lambda: openvino(form), ValueError) == (
        "the model is optimised already: give the one that it was made from"
    )


# --- detectors ---


@pytest.mark.parametrize("kind", ["mask", "fcos"])
def test_detectors_find_the_same(kind):
    model = detector(kind)
    faster = openvino(model)
    assert isinstance(faster.backbone, OpenVINOBackbone)
    assert any(isinstance(m, FusedConv2d) for m in faster.modules())
    for found, theirs in zip(detect(faster), detect(model), strict=True):
        assert_same(found, theirs)


@torch.no_grad()
def test_a_detector_that_overflows_names_the_image():
    model = detector("faster")
    model.backbone.bottom_up.layer1[0].conv2.weight.fill_(3e38)
    given = [{**row, "file_name": f"images/{i}.jpg"} for i, row in enumerate(rows())]
    said = "the detector's numbers are not finite, first in backbone (OpenVINOBackbone)."
    form = openvino(model)
    with pytest.raises(InputError, match=re.escape(said)), images_are_named(form):
        form(given)


def test_a_detector_is_made_in_the_form_that_its_config_asks_for():
    model = detector("faster")
    image = rows()[0]["image"].permute(1, 2, 0).byte().numpy()
    found = Detector(model, config("faster", "TEST.ENGINE", "openvino"), CLASSES)
    assert isinstance(found.model.backbone, OpenVINOBackbone)
    expected = Detector(model, config("faster"), CLASSES)(image)
    assert_same(found(image), expected)


def test_a_lazy_config_asks_for_it_too():
    name = "COCO-Detection/faster_rcnn_hrnetv2p_w18_1x.py"
    run = load_run(name, ["train.test.engine=openvino", "train.device=cpu"])
    model = nn.Module()
    model.backbone = small()
    assert isinstance(inference_form(run, model).backbone, OpenVINOBackbone)
    run = load_run(name, ["train.test.engine=onnx", "train.device=cpu"])
    assert message(lambda: check_inference_form(run)) == (
        "train.test.engine: engine 'onnx': must be one of torch, openvino"
    )


# --- what is refused ---


def refused(*overrides):
    run = as_run(config("faster", "TEST.ENGINE", "openvino", *overrides))
    return message(lambda: check_inference_form(run))


def test_keys_that_contradict_each_other():
    assert refused("TEST.OPTIMIZED", "False") == (
        "TEST.ENGINE openvino with TEST.OPTIMIZED False: only the optimised form has it; set "
        "TEST.OPTIMIZED True"
    )
    assert refused("TEST.COMPILE", "True") == (
        "TEST.ENGINE: engine openvino has nothing for torch.compile: take one of the two"
    )
    assert refused("MODEL.DEVICE", "cuda") == (
        "TEST.ENGINE: engine openvino computes on CPUs, and the device is cuda: take the CPU, or "
        "engine torch"
    )


def test_without_openvino(monkeypatch):
    monkeypatch.setattr(
        openvino_form.importlib.util, "find_spec", lambda name, found=importlib.util.find_spec: (
            None if name == "openvino" else found(name)))  # fmt: skip
    assert message(lambda: check_engine("openvino", torch.device("cpu"))) == (
        "engine openvino needs the package openvino: pip install 'hrnet_det[openvino]', or take "
        "engine torch"
    )
    check_engine("torch", torch.device("cpu"))
