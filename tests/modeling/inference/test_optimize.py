"""Models in their faster form, and fixed norms that are folded in training."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.detectors import KINDS, OWN, assert_same, calibrate, config, detect, detector, rows
from helpers.networks import BFLOAT16, TINY, WIDE, assert_near, hrfpn, images, spread
from helpers.tiny import CLASSES, custom, write_json
from helpers.tiny import TINY as TINY_CONFIG
from pycocotools import mask as coco_mask
from torch import nn

from hrnet_det import HRFPN, Detector, HRNet, HRNetVariant, model_zoo
from hrnet_det.config.load import as_run
from hrnet_det.data import prepare_datasets
from hrnet_det.engine import Trainer
from hrnet_det.errors import InputError
from hrnet_det.model_zoo import check_inference_form, inference_form
from hrnet_det.modeling.backbone import blocks, hrnet
from hrnet_det.modeling.backbone.blocks import conv_norm, norm_layer
from hrnet_det.modeling.backbone.fused import FusedConv2d, can_be_folded, folded, has_fixed_values
from hrnet_det.modeling.inference import optimize as inference
from hrnet_det.modeling.inference.optimize import optimize_for_inference
from hrnet_det.modeling.inference.roi_align import BagROIAlign

SIZES = ((61, 94), (32, 128))  # up to 3 pixels less than a multiple of 32 are allowed
needs_bfloat16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no instructions for bfloat16"
)


def backbone(kind, norm):
    torch.manual_seed(0)
    net = HRNet(variant=WIDE if norm == "GN" else TINY, norm=norm)
    # Group norm enlarges the rounding where its 32 groups have few values each.
    channels = 256 if norm == "GN" else 32
    return hrfpn(net, norm=norm, out_channels=channels) if kind == "hrfpn" else spread(net).eval()


def message(call, kind=ValueError):
    with pytest.raises(kind) as error:
        call()
    return str(error.value)


# --- backbones ---


@pytest.mark.parametrize("norm", ["BN", "FrozenBN", "", "GN"])
@pytest.mark.parametrize("kind", ["hrnet", "hrfpn"])
@torch.no_grad()
def test_a_faster_backbone_equals_the_plain_one(kind, norm):
    model = backbone(kind, norm)
    faster = optimize_for_inference(model)
    fused = [m for m in faster.modules() if isinstance(m, FusedConv2d)]
    left = [m for m in faster.modules() if isinstance(m, nn.Conv2d)]
    assert (len(fused) == 0, len(left) == 0) == ((True, False) if norm == "GN" else (False, True))
    for size in SIZES:
        assert_near(faster(images(*size)), model(images(*size)), 1e-5)


@pytest.mark.parametrize("options", [
    {"out_channels": 16},  # every branch is convolved at its own size
    {"out_channels": 128},  # every branch is upsampled first
    {"min_level": 3, "pooling": "max"},
    {"share_conv": True, "num_levels": 3},
    {"in_features": ("hr3", "hr4"), "min_level": 3},
    {"norm": "BN"},
])  # fmt: skip
@torch.no_grad()
def test_every_form_of_the_pyramid(options):
    model = hrfpn(**options)
    faster = optimize_for_inference(model)
    assert not any(isinstance(m, nn.Conv2d) for m in faster.modules())
    for size in SIZES:
        assert_near(faster(images(*size)), model(images(*size)), 1e-5)


@torch.no_grad()
def test_sizes_may_come_back_and_batches_may_be_empty():
    model = hrfpn()
    faster = optimize_for_inference(model)
    for size in "ABBBAABA":
        given = images(*{"A": (64, 96), "B": (96, 32)}[size])
        assert_near(faster(given), model(given), 1e-5)
    empty = torch.zeros(0, 3, 64, 96)
    for name, x in faster(empty).items():
        assert x.shape == model(empty)[name].shape and len(x) == 0
    assert_near(faster(images()), model(images()), 1e-5)


@needs_bfloat16
@pytest.mark.parametrize("norm", BFLOAT16)
@pytest.mark.parametrize("kind", ["hrnet", "hrfpn"])
@torch.no_grad()
def test_bfloat16_is_within_its_rounding(kind, norm):
    model = backbone(kind, norm)
    faster = optimize_for_inference(model, dtype=torch.bfloat16)
    expected, result = model(images()), faster(images())
    assert {x.dtype for x in result.values()} == {torch.bfloat16}
    assert_near(result, expected, BFLOAT16[norm])


def test_the_model_that_it_is_made_from_stays_as_it_is():
    model = hrfpn().train()
    before = copy.deepcopy(model)
    optimize_for_inference(model)(images())
    assert all(m.training for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
    assert [type(m) for m in model.modules()] == [type(m) for m in before.modules()]
    for (name, a), (other, b) in zip(
        model.state_dict().items(), before.state_dict().items(), strict=True
    ):
        assert name == other and torch.equal(a, b) and a.stride() == b.stride()
    result, expected = model(images()), before(images())
    assert all(torch.equal(x, expected[name]) for name, x in result.items())
    result["p2"].sum().backward()
    assert model.bottom_up.conv1.weight.grad.abs().sum() > 0


@torch.no_grad()
def test_one_that_is_training_is_taken_as_it_evaluates():
    model = hrfpn()
    expected = model(images())
    assert_near(optimize_for_inference(model.train())(images()), expected, 1e-5)


def test_what_cannot_be_optimised_is_refused():
    model = hrfpn()
    faster = optimize_for_inference(model)
    assert message(lambda: optimize_for_inference(faster)) == (
        "the model is optimised already: give the one that it was made from"
    )
    assert message(lambda: optimize_for_inference(model, dtype=torch.int8)) == (
        "torch.int8 is none of float32, bfloat16, float16"
    )
    assert message(lambda: optimize_for_inference(model, dtype=torch.float16)) == (
        "float16 is for GPUs; on a CPU take bfloat16 or float32"
    )


def test_a_cpu_without_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    assert message(lambda: optimize_for_inference(hrfpn(), dtype=torch.bfloat16)) == (
        "this CPU has no instructions for bfloat16; take float32"
    )
    optimize_for_inference(hrfpn())


def test_it_is_neither_trained_nor_saved():
    model = hrfpn()
    faster = optimize_for_inference(model)
    said = message(faster.train, RuntimeError)
    assert said == "optimize_for_inference: train the model that it was given instead"
    said = message(faster.state_dict, RuntimeError)
    assert said == "a model made by optimize_for_inference cannot be saved; save its source"
    said = message(lambda: faster.load_state_dict(model.state_dict()), RuntimeError)
    assert said == "optimize_for_inference: load weights into the model that it is given"
    assert faster.eval() is faster and not any(m.training for m in faster.modules())
    assert not any(p.requires_grad for p in faster.parameters())


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler")
@torch.no_grad()
def test_a_compiled_backbone_equals_the_plain_one_at_every_size():
    variant = HRNetVariant(widths=(8, 16), stage1_blocks=1, stage1_width=16, blocks=1, modules=(1,))
    model = hrfpn(HRNet(variant=variant), in_features=("hr2", "hr3"), num_levels=1)
    faster = optimize_for_inference(model, compile=True)
    for size in ((64, 96), (96, 32)):
        assert_near(faster(images(*size)), model(images(*size)), 1e-5)


# --- fused convolutions ---

GEOMETRIES = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1},
    {"kernel_size": 3, "padding": 1, "stride": 2, "bias": False},
    {"kernel_size": (1, 3), "padding": (0, 2), "dilation": (1, 2), "groups": 4},
    {"kernel_size": 3, "stride": (1, 2), "groups": 2, "bias": False},
]


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("batch", [2, 0])
@pytest.mark.parametrize("geometry", GEOMETRIES)
@torch.no_grad()
def test_a_fused_convolution_is_a_convolution_an_addition_and_a_relu(geometry, batch, onednn):
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 12, **geometry)
    fused = FusedConv2d(conv.weight, conv.bias, conv, onednn=onednn)
    x = torch.randn(batch, 8, 9, 13)
    kept = x.clone()
    y = F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)
    add = torch.randn_like(y)
    layouts = {"memory_format": torch.contiguous_format}, {"memory_format": torch.channels_last}
    for layout in layouts:
        given = x.clone(**layout)
        torch.testing.assert_close(fused(given), y)
        torch.testing.assert_close(fused(given, relu=True), y.clamp(min=0))
        torch.testing.assert_close(fused(given, add=add.clone(**layout)), y + add)
        result = fused(given, add=add.clone(**layout), relu=True)
        torch.testing.assert_close(result, (y + add).clamp(min=0))
        assert torch.equal(given, kept)


@torch.no_grad()
def test_a_fused_convolution_has_a_relu_of_its_own_unless_told_otherwise():
    conv = nn.Conv2d(4, 4, 1)
    fused = FusedConv2d(conv.weight, conv.bias, conv)
    x = torch.randn(1, 4, 5, 5)
    fused.relu = True
    torch.testing.assert_close(fused(x), conv(x).relu())
    torch.testing.assert_close(fused(x, relu=False), conv(x))


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)]
)
@pytest.mark.parametrize("kernel", [1, 3])
@torch.no_grad()
def test_a_fused_convolution_keeps_what_is_not_finite(kernel, dtype):
    """A ReLU says nan of NaN, where oneDNN's own one says 0."""
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 16, kernel, padding=kernel // 2)
    fused = FusedConv2d(conv.weight.to(dtype), conv.bias, conv)
    x = torch.randn(1, 16, 12, 12)
    x[0, 3, 2, 2], x[0, 5, 8, 8] = float("nan"), float("inf")
    sum_of_nan = torch.zeros(1, 16, 12, 12)
    sum_of_nan[0, :, 5, 0] = float("nan")
    for add in (None, sum_of_nan):
        y = conv(x).relu() if add is None else (conv(x) + add).relu()
        result = fused(x, relu=True, add=None if add is None else add.to(dtype))
        cells = 16 * (kernel**2 + (add is not None))
        assert y.isnan().sum() == cells and 0 < y.isposinf().sum() < 16 * kernel**2
        assert torch.equal(result.isnan(), y.isnan())
        assert torch.equal(result.isinf(), y.isinf())


@pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.bfloat16, marks=needs_bfloat16)]
)
@torch.no_grad()
def test_both_forms_agree_on_what_is_not_finite(dtype):
    model = hrfpn()
    given = images()
    given[0, 1, 40, 50] = float("nan")  # its neighbourhood, as far as the network sees, is NaN
    faster = optimize_for_inference(model, dtype=dtype)
    for name, x in model(given).items():
        assert x[0].isnan().any() and not x[1].isnan().any()
        assert torch.equal(faster(given)[name].isnan(), x.isnan()), name
    for value in (float("nan"), 1e38):  # weights that are NaN, or so large that maps overflow
        model.bottom_up.layer1[0].conv2.weight.fill_(value)
        faster = optimize_for_inference(model, dtype=dtype)
        for features in (model(images()), faster(images())):
            assert all(x.isnan().all() for x in features.values())


@torch.no_grad()
def test_onednn_writes_the_sum_into_what_is_added():
    conv = nn.Conv2d(4, 4, 3, padding=1)
    fused = FusedConv2d(conv.weight, conv.bias, conv)
    assert fused.onednn
    x, add = (torch.randn(2, 4, 6, 5).to(memory_format=torch.channels_last) for _ in range(2))
    expected = conv(x) + add
    result = fused(x, add=add)
    assert result.data_ptr() == add.data_ptr()
    torch.testing.assert_close(add, expected)


@needs_bfloat16
@torch.no_grad()
def test_a_fused_convolution_computes_in_the_type_of_its_weights():
    torch.manual_seed(0)
    conv = nn.Conv2d(8, 8, 3)
    x = torch.randn(1, 8, 6, 6)
    fused = FusedConv2d(conv.weight.bfloat16(), conv.bias, conv)
    result = fused(x, relu=True)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), conv(x).relu(), rtol=0.02, atol=0.02)


# --- norms of fixed statistics, in training ---


def plain_conv_norm(conv, norm, x, *, relu, add=None):
    """What conv_norm computes, written out; the statistics are the norm's own."""
    y = F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)
    statistics = norm.running_mean, norm.running_var, norm.weight, norm.bias
    moving = isinstance(norm, nn.BatchNorm2d) and norm.training
    y = F.batch_norm(y, *statistics, training=moving, momentum=0.1, eps=norm.eps)
    y = y if add is None else y + add
    return y.relu() if relu else y


def gradients(function, *tensors):
    """The result, and the gradient of a sum in which each value has a weight of its own."""
    y = function()
    weights = torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view_as(y)
    return [y, *torch.autograd.grad((y * weights).sum(), tensors)]


def assert_equal_in_double(results, expected, tolerance=1e-10):
    for ours, theirs in zip(results, expected, strict=True):
        assert ours.dtype == torch.double
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("norm", ["BN", "FrozenBN"])
def test_a_fixed_norm_is_folded_with_the_same_gradients(norm, relu, bias):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=bias).double()
    norm = spread(norm_layer(norm, 6)).double().eval()
    x = torch.randn(2, 4, 7, 9, dtype=torch.double, requires_grad=True)
    add = torch.randn(2, 6, 4, 5, dtype=torch.double, requires_grad=True)
    tensors = [x, add, *conv.parameters(), *norm.parameters()]
    assert len(tensors) == 3 + bias + 2 * (type(norm) is nn.BatchNorm2d)
    before = copy.deepcopy(norm.state_dict())
    results = [
        gradients(lambda f=f: f(conv, norm, x, relu=relu, add=add), *tensors)
        for f in (conv_norm, plain_conv_norm)
    ]
    assert_equal_in_double(*results)
    assert all(torch.equal(t, before[name]) for name, t in norm.state_dict().items())


def test_folded_weights_can_be_differentiated_twice():
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 1).double()
    norm = spread(nn.BatchNorm2d(3)).double().eval()
    parameters = [*conv.parameters(), *norm.parameters()]

    def of_parameters(weight, bias, scale, shift):
        given = dict(zip(("weight", "bias"), (weight, bias), strict=True))
        named = dict(zip(("weight", "bias"), (scale, shift), strict=True))
        return torch.func.functional_call(
            _Folded(conv, norm),
            {f"conv.{k}": v for k, v in given.items()} | {f"norm.{k}": v for k, v in named.items()},
            (),
        )

    assert torch.autograd.gradgradcheck(of_parameters, parameters)


class _Folded(nn.Module):
    def __init__(self, conv, norm):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self):
        return folded(self.conv, self.norm)


def test_without_a_norm_the_convolution_is_taken_as_it_is():
    conv = nn.Conv2d(2, 3, 1)
    for norm in (None, nn.Identity()):
        weight, bias = folded(conv, norm)
        assert weight is conv.weight and bias is conv.bias


def test_which_norms_have_fixed_values():
    norm = nn.BatchNorm2d(4)
    assert not has_fixed_values(norm) and has_fixed_values(norm.eval())
    assert has_fixed_values(norm_layer("FrozenBN", 4))
    assert not has_fixed_values(nn.BatchNorm2d(4, track_running_stats=False).eval())
    assert not has_fixed_values(nn.GroupNorm(2, 4))
    assert not has_fixed_values(nn.BatchNorm2d(4, affine=False).eval())


def test_what_is_no_plain_convolution_is_not_folded():
    class Doubled(nn.Conv2d):
        def forward(self, x):
            return 2 * super().forward(x)

    norm = nn.BatchNorm2d(4).eval()
    assert can_be_folded(nn.Conv2d(3, 4, 1), norm)
    assert not can_be_folded(Doubled(3, 4, 1), norm)
    assert not can_be_folded(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), norm)
    assert not can_be_folded(nn.Conv2d(3, 4, 3, padding="same"), norm)
    watched = nn.Conv2d(3, 4, 1)
    watched.register_forward_hook(lambda *_: None)
    assert not can_be_folded(watched, norm)


def test_an_optimised_model_can_be_copied_but_neither_moved_nor_made_from_doubles():
    fast = optimize_for_inference(HRNet(variant=TINY).eval())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for _ in range(3):  # from the second on the weights are kept in oneDNN's order
            expected = fast(x)["hr2"]
        assert torch.equal(copy.deepcopy(fast)(x)["hr2"], expected)
    with pytest.raises(RuntimeError, match="move or convert the model that it was given"):
        fast.double()
    with pytest.raises(ValueError, match="weights in float32"):
        optimize_for_inference(HRNet(variant=TINY).double())


@pytest.mark.parametrize(("norm", "norm_eval"), [("BN", True), ("FrozenBN", False), ("BN", False)])
def test_a_whole_network_learns_as_if_nothing_were_folded(norm, norm_eval, monkeypatch):
    torch.manual_seed(0)
    net = spread(HRNet(variant=TINY, norm=norm, norm_eval=norm_eval)).double().train()
    plain = copy.deepcopy(net)
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)

    def outputs(net):
        return torch.cat([y.flatten() for y in net(x).values()])

    result = gradients(lambda: outputs(net), *net.parameters())
    monkeypatch.setattr(blocks, "conv_norm", plain_conv_norm)
    monkeypatch.setattr(hrnet, "conv_norm", plain_conv_norm)
    assert_equal_in_double(result, gradients(lambda: outputs(plain), *plain.parameters()), 1e-9)


@pytest.mark.parametrize("norm_eval", [False, True])
def test_running_statistics_move_as_torchs_do_and_only_if_trained(norm_eval):
    torch.manual_seed(0)
    net = spread(HRNet(variant=TINY, norm_eval=norm_eval)).double().train()
    before = copy.deepcopy(net.state_dict())
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    net(x)
    mean, var = before["bn1.running_mean"].clone(), before["bn1.running_var"].clone()
    if not norm_eval:
        y = F.conv2d(x, net.conv1.weight, stride=2, padding=1).transpose(0, 1).flatten(1)
        mean = 0.9 * mean + 0.1 * y.mean(dim=1)
        var = 0.9 * var + 0.1 * y.var(dim=1, unbiased=True)
    torch.testing.assert_close(net.bn1.running_mean, mean)
    torch.testing.assert_close(net.bn1.running_var, var)
    counts = {t.item() for name, t in net.state_dict().items() if "num_batches" in name}
    assert counts == {int(not norm_eval)}


# --- whole detectors ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_faster_detector_detects_the_same(kind):
    model = detector(kind)
    expected = detect(model)
    assert all(len(found) > 3 for found in expected)
    faster = optimize_for_inference(model)
    for found, theirs in zip(detect(faster), expected, strict=True):
        assert_same(found, theirs)
    plain = [m for m in faster.modules() if type(m) is nn.Conv2d]
    assert plain == []
    # one image after the other, in its own size
    for image, theirs in zip(rows(), [detect(model, [row])[0] for row in rows()], strict=True):
        assert_same(detect(faster, [image])[0], theirs)


@torch.no_grad()
def test_a_faster_segmentation_gives_the_same_logits():
    words = ["MODEL.SEM_SEG_HEAD.NUM_CLASSES", "4", "MODEL.SEM_SEG_HEAD.CLASS_WEIGHTS", "[]"]
    words += ["MODEL.HRNET.NORM", "BN", "MODEL.SEM_SEG_HEAD.NORM", "BN"]
    cfg = model_zoo.get_config("Base-SemanticSegmentation-HRNetV2.yaml", [*TINY_CONFIG, *words])
    torch.manual_seed(0)
    segmentor = model_zoo.build_detector(cfg).eval()
    calibrate(segmentor, lambda: segmentor(rows()))
    for model in (segmentor, detector("panoptic")):
        faster = optimize_for_inference(model)
        assert not any(type(m) is nn.Conv2d for m in faster.modules())
        for found, theirs in zip(faster(rows()), model(rows()), strict=True):
            scale = theirs["sem_seg"].abs().max()
            assert (found["sem_seg"] - theirs["sem_seg"]).abs().max() < 1e-4 * scale


def _set_threshold(model, value):
    heads = getattr(model, "roi_heads", None)
    if heads is None:
        model.test_score_thresh = value
        return
    predictors = heads.box_predictor
    for predictor in predictors if isinstance(predictors, nn.ModuleList) else [predictors]:
        predictor.test_score_thresh = value


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_detections(kind):
    model = detector(kind)
    best = sorted(found.scores.max().item() for found in detect(model))
    in_one, in_both = (sum(best) / 2, 1), (1.5, 2)
    # FCOS's threshold is for the classes alone, its scores are of the centerness as well; the
    # panoptic detector's best masks are empty
    for threshold, empty in [in_both] if kind in ("fcos", "panoptic") else [in_one, in_both]:
        _set_threshold(model, threshold)
        expected = detect(model)
        assert sum(len(found) == 0 for found in expected) == empty
        for found, theirs in zip(detect(optimize_for_inference(model)), expected, strict=True):
            assert_same(found, theirs)


DECODED = {
    "mask": ["pred_masks"],
    "keypoint": ["pred_keypoints", "pred_keypoint_heatmaps"],
    "cascade mask": ["pred_masks"],
    "panoptic": ["pred_masks"],
    "htc": ["pred_masks"],
}


@needs_bfloat16
@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_in_bfloat16_gives_boxes_and_scores_in_float32(kind):
    model = detector(kind)
    expected = detect(model)
    faster = optimize_for_inference(model, dtype=torch.bfloat16)
    computed = set()
    for layer in faster.modules():
        if isinstance(layer, (FusedConv2d, nn.Linear, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda m, i, y: computed.add(_dtype(m)))
    for found, theirs in zip(detect(faster), expected, strict=True):
        assert found.pred_boxes.tensor.dtype == found.scores.dtype == torch.float32
        assert set(found.get_fields()) == set(theirs.get_fields())
        assert found.pred_boxes.tensor.isfinite().all()
        assert found.scores.max() == pytest.approx(theirs.scores.max().item(), abs=0.1)
    if hasattr(faster, "roi_heads"):
        with torch.no_grad():
            decoded = faster.inference(rows(), do_postprocess=False)
        if kind == "panoptic":
            decoded, logits = decoded
            assert logits.dtype == torch.float32
        decoded = [found.get_fields() for found in decoded]
        for name in DECODED.get(kind, ()):
            assert {fields[name].dtype for fields in decoded} == {torch.float32}
    assert computed == {torch.bfloat16}


def _dtype(layer):
    return layer.dtype if isinstance(layer, FusedConv2d) else layer.weight.dtype


# --- the config's keys ---


def run_of(kind, *overrides):
    return as_run(config(kind, *overrides))


def refused(*overrides):
    return message(lambda: check_inference_form(run_of("faster", *overrides)), InputError)


def test_keys_that_contradict_each_other():
    plain = ["TEST.OPTIMIZED", "False"]
    assert refused(*plain, "TEST.DTYPE", "bfloat16") == (
        "TEST.DTYPE bfloat16 with TEST.OPTIMIZED False: only the optimised form has it; set "
        "TEST.OPTIMIZED True"
    )
    assert refused(*plain, "TEST.COMPILE", "True") == (
        "TEST.COMPILE True with TEST.OPTIMIZED False: only the optimised form has it; set "
        "TEST.OPTIMIZED True"
    )
    assert refused("TEST.DTYPE", "half") == (
        "unknown TEST.DTYPE 'half'; known: float32, bfloat16, float16"
    )
    assert refused("TEST.DTYPE", "float16") == (
        "TEST.DTYPE: float16 is for GPUs; on a CPU take bfloat16 or float32"
    )


def test_keys_that_fit():
    assert check_inference_form(run_of("faster")) == torch.float32
    assert check_inference_form(run_of("faster", "TEST.OPTIMIZED", "False")) == torch.float32
    on_gpu = run_of("faster", "TEST.DTYPE", "float16", "MODEL.DEVICE", "cuda")
    assert check_inference_form(on_gpu) == torch.float16


@needs_bfloat16
def test_the_form_that_the_config_asks_for():
    model = detector("faster")
    assert inference_form(run_of("faster", "TEST.OPTIMIZED", "False"), model) is model
    for overrides, dtype in (([], torch.float32), (["TEST.DTYPE", "bfloat16"], torch.bfloat16)):
        faster = inference_form(run_of("faster", *overrides), model)
        assert {m.dtype for m in faster.modules() if isinstance(m, FusedConv2d)} == {dtype}
        assert any(isinstance(m, BagROIAlign) for m in faster.modules())


def test_compile_is_passed_on(monkeypatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda self, **options: compiled.append(
        (type(self), options)))  # fmt: skip
    monkeypatch.setattr(torch, "compile", lambda function: function)  # what is tried first
    model = detector("faster")
    inference_form(run_of("faster"), model)
    assert compiled == []
    faster = inference_form(run_of("faster", "TEST.COMPILE", "True"), model)
    assert compiled == [(HRFPN, {"dynamic": True})]
    assert not any(m.onednn for m in faster.modules() if isinstance(m, FusedConv2d))


def test_without_a_compiler_nothing_is_compiled(monkeypatch):
    def broken(_):
        raise RuntimeError("no g++ in the PATH\nmore of it")

    monkeypatch.setattr(torch, "compile", broken)
    assert refused("TEST.COMPILE", "True") == (
        "TEST.COMPILE: torch.compile does not work here (no g++ in the PATH); on a CPU it needs a "
        "C++ compiler such as g++. Install one, or set TEST.COMPILE False"
    )


@pytest.mark.parametrize("optimized", [True, False])
def test_a_detector_is_made_in_the_form_that_its_config_asks_for(optimized):
    cfg = config("faster", "TEST.OPTIMIZED", str(optimized))
    found = Detector(detector("faster"), cfg, CLASSES)
    assert any(isinstance(m, FusedConv2d) for m in found.model.modules()) == optimized
    image = rows()[0]["image"].permute(1, 2, 0).byte().numpy()
    assert len(found(image)) == 10


def test_both_forms_have_the_same_ap(coco, tmp_path):
    """On what the plain form itself has found, every third of it left out."""
    model = detector("mask")
    plain = Detector(model, config("mask", "TEST.OPTIMIZED", "False"), CLASSES)
    content = json.loads((coco / "polygons.json").read_text())
    content["annotations"] = [
        annotation
        for image in content["images"]
        for annotation in _annotations(plain(coco / "images" / image["file_name"]), image["id"])
    ]
    for number, annotation in enumerate(content["annotations"], start=1):
        annotation["id"] = number
    written = write_json(tmp_path / "found.json", content)
    found = [*custom(coco, str(written), ["TEST"]), "OUTPUT_DIR", str(tmp_path)]
    results, forms = [], []
    model.register_forward_hook(lambda m, _, __: forms.append(_is_fused(m)))  # copied with it
    for optimized in ("True", "False"):
        words = [*TINY_CONFIG, *OWN, *found, "TEST.OPTIMIZED", optimized]
        cfg = model_zoo.get_config("quickstart/mask_rcnn.yaml", words)
        prepare_datasets(cfg, trains=False)
        forms.clear()
        results.append(Trainer.test(cfg, model))
        assert len(forms) > 3 and set(forms) == {optimized == "True"}
    faster, expected = results
    assert list(faster) == list(expected) == ["bbox", "segm"]
    for task, metrics in expected.items():
        assert 30 < metrics["AP"] < 99
        assert faster[task] == pytest.approx(metrics, abs=1e-6, nan_ok=True)
    assert not _is_fused(model)


def _is_fused(model):
    return any(isinstance(m, FusedConv2d) for m in model.modules())


def _annotations(instances, image_id):
    rows = zip(
        instances.pred_boxes.tensor.tolist(),
        instances.pred_classes.tolist(),
        instances.pred_masks.numpy(),
        strict=True,
    )
    for k, ((x0, y0, x1, y1), label, mask) in enumerate(rows):
        if k % 3 == 1:
            continue
        encoded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
        yield {
            "image_id": image_id,
            "category_id": (3, 7, 12)[label],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": max(int(mask.sum()), 1),
            "iscrowd": 0,
            "segmentation": {"size": encoded["size"], "counts": encoded["counts"].decode()},
        }


@needs_bfloat16
def test_a_gpu_pools_from_maps_in_single_precision(monkeypatch):
    """With torchvision's RoIAlign, on this device; it takes and gives one type."""
    compute_in = inference._compute_in

    def as_on_a_gpu(model, dtype, _):
        compute_in(model, dtype, torch.device("cuda"))

    monkeypatch.setattr(inference, "_compute_in", as_on_a_gpu)
    monkeypatch.setattr(inference, "use_channels_last", lambda model: model)
    cfg = model_zoo.get_config("quickstart/mask_rcnn.yaml", TINY_CONFIG)
    torch.manual_seed(0)
    fast = optimize_for_inference(model_zoo.build_detector(cfg), dtype=torch.bfloat16)
    with torch.no_grad():
        (found,) = fast([{"image": torch.rand(3, 64, 96) * 255, "height": 64, "width": 96}])
    assert len(found["instances"]) > 0
    assert found["instances"].pred_boxes.tensor.dtype == torch.float32
