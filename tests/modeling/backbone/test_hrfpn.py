"""HRFPN against the published formula, written naively and independently."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from torch import nn

from hrnet_det import HRFPN, HRNet


class Maps(Backbone):
    """A bottom-up network that returns given maps."""

    size_divisibility = 32

    def __init__(self, channels=(6, 12, 24, 48)):
        super().__init__()
        self.shapes = {
            f"hr{b + 2}": ShapeSpec(channels=c, stride=4 * 2**b) for b, c in enumerate(channels)
        }
        self.maps = None

    def output_shape(self):
        return self.shapes

    def random(self, height, width, dtype=torch.double):
        self.maps = {
            n: torch.randn(2, s.channels, height // s.stride, width // s.stride, dtype=dtype)
            for n, s in self.shapes.items()
        }

    def forward(self, images):
        return dict(self.maps)


def naive(fpn: HRFPN, maps: dict, *, pooling="avg", norm=False) -> list[torch.Tensor]:
    """Upsample, concatenate, reduce, pool by 2^k, 3x3 convolution: what the papers' code does."""
    upsampled = [maps["hr2"]]
    for i, name in enumerate(("hr3", "hr4", "hr5"), start=1):
        upsampled.append(
            F.interpolate(maps[name], scale_factor=2**i, mode="bilinear", align_corners=False)
        )
    reduction = fpn.reduction_conv
    y = F.conv2d(torch.cat(upsampled, dim=1), reduction.weight, reduction.bias)
    if norm:
        y = reduction.norm(y)
    pool = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}[pooling]
    outputs = []
    for k in range(5):
        x = y if k == 0 else pool(kernel_size=2**k, stride=2**k)(y)
        layer = fpn.fpn_convs[k if len(fpn.fpn_convs) > 1 else 0]
        x = F.conv2d(x, layer.weight, layer.bias, stride=layer.stride, padding=1)
        outputs.append(layer.norm(x) if norm else x)
    return outputs


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"min_level": 3},
        {"pooling": "max"},
        {"share_conv": True},
        {"norm": "BN"},
        {"out_channels": 20},
    ],
    ids=str,
)
@pytest.mark.parametrize(("height", "width"), [(128, 192), (224, 96), (352, 64)])
def test_hrfpn_equals_the_naive_formula(options, height, width):
    torch.manual_seed(0)
    maps = Maps()
    fpn = HRFPN(bottom_up=maps, **{"out_channels": 32, **options}).double()
    for parameter in fpn.parameters():  # biases too
        nn.init.normal_(parameter, std=0.3)
    maps.random(height, width)
    result = fpn(torch.zeros(2, 3, height, width))
    expected = naive(fpn, maps.maps, pooling=options.get("pooling", "avg"), norm="norm" in options)
    first = options.get("min_level", 2)
    assert list(result) == [f"p{first + k}" for k in range(5)]
    for x, reference in zip(result.values(), expected, strict=True):
        assert x.shape == reference.shape
        assert (x - reference).abs().max() <= 1e-5 * reference.abs().max()
    assert len(maps.maps) == 4  # the caller's maps are as they were


def test_a_image_too_small_for_p6_keeps_one_cell_that_averages_what_is_there():
    torch.manual_seed(0)
    maps = Maps()
    fpn = HRFPN(bottom_up=maps, out_channels=8).double()
    maps.random(32, 128)
    result = fpn(torch.zeros(2, 3, 32, 128))
    assert [tuple(x.shape[-2:]) for x in result.values()] == [
        (8, 32),
        (4, 16),
        (2, 8),
        (1, 4),
        (1, 2),
    ]
    y = fpn.reduction_conv(list(maps.maps.values()))
    p6 = F.conv2d(
        F.avg_pool2d(y, (8, 16)), fpn.fpn_convs[4].weight, fpn.fpn_convs[4].bias, padding=1
    )
    torch.testing.assert_close(result["p6"], p6)


def test_names_shapes_and_metadata():
    fpn = HRFPN(bottom_up=HRNet(variant="w18"))
    own = {k: tuple(v.shape) for k, v in fpn.state_dict().items() if "bottom_up" not in k}
    assert own == {
        "reduction_conv.weight": (256, 270, 1, 1),
        "reduction_conv.bias": (256,),
        **{f"fpn_convs.{k}.weight": (256, 256, 3, 3) for k in range(5)},
        **{f"fpn_convs.{k}.bias": (256,) for k in range(5)},
    }
    assert "bottom_up.stage2.0.fuse_layers.0.1.0.weight" in fpn.state_dict()
    assert {n: (s.channels, s.stride) for n, s in fpn.output_shape().items()} == {
        f"p{k}": (256, 2**k) for k in range(2, 7)
    }
    one_stage = HRFPN(bottom_up=Maps(), min_level=3, out_channels=64)
    assert {n: (s.channels, s.stride) for n, s in one_stage.output_shape().items()} == {
        f"p{k}": (64, 2**k) for k in range(3, 8)
    }
    assert fpn.size_divisibility == 32
    shared = HRFPN(bottom_up=Maps(), share_conv=True)
    assert [k for k in shared.state_dict() if "fpn" in k] == [
        "fpn_convs.0.weight",
        "fpn_convs.0.bias",
    ]
    normed = HRFPN(bottom_up=Maps(), norm="BN").state_dict()
    assert "reduction_conv.bias" not in normed and "fpn_convs.4.norm.weight" in normed


def test_some_of_the_branches_and_fewer_levels():
    torch.manual_seed(0)
    maps = Maps()
    fpn = HRFPN(bottom_up=maps, in_features=("hr3", "hr4"), min_level=3, num_levels=2).double()
    maps.random(64, 64)
    result = fpn(torch.zeros(2, 3, 64, 64))
    assert {n: tuple(x.shape) for n, x in result.items()} == {
        "p3": (2, 256, 8, 8),
        "p4": (2, 256, 4, 4),
    }
    assert fpn.reduction_conv.weight.shape == (256, 36, 1, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"in_features": ("hr2", "res5")}, r"\['hr2', 'res5'\]: some of \['hr2', 'hr3'"),
        ({"in_features": ()}, "some of"),
        ({"in_features": ("hr2", "hr4")}, r"strides must double.*\[4, 16\]"),
        ({"min_level": 4}, "min_level 4: 2 or 3 from hr2"),
        ({"min_level": 1}, "min_level 1: 2 or 3"),
        ({"pooling": "sum"}, "'sum'; known: avg, max"),
        ({"norm": "XN"}, "unknown norm 'XN'"),
        ({"num_levels": 0}, "num_levels 0: at least 1"),
        ({"activation_checkpointing": "yes"}, "'yes'; known: none"),
    ],
)
def test_wrong_arguments_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        HRFPN(bottom_up=Maps(), **options)
