"""Variants against timm and against the published parameter counts."""

import pytest
import timm
import torch
from helpers.timm_names import HEAD, TIMM
from torch import nn

from hrnet_det import VARIANTS, HRNet, HRNetVariant
from hrnet_det.modeling.backbone.variants import IMAGENET_WEIGHTS

# Parameters of stem to stage 4, 10^6: the last column of the published table, counted there.
MILLIONS = {
    "w18_small_v1": 1.48,
    "w18_small_v2": 3.86,
    "w18": 9.56,
    "w30": 25.81,
    "w32": 29.31,
    "w40": 45.52,
    "w44": 54.97,
    "w48": 65.33,
    "w64": 115.70,
}


def test_the_table_has_all_nine_variants():
    assert list(VARIANTS) == list(MILLIONS)
    assert VARIANTS["w32"].widths == (32, 64, 128, 256)
    assert VARIANTS["w18_small_v1"].widths == (16, 32, 64, 128)


def test_imagenet_weights_are_those_of_the_authors_for_every_variant():
    assert {name: f"timm://{TIMM[name]}.ms_in1k" for name in VARIANTS} == IMAGENET_WEIGHTS
    pretrained = timm.list_pretrained("hrnet*")
    assert {name.removeprefix("timm://") for name in IMAGENET_WEIGHTS.values()} <= set(pretrained)


@pytest.mark.parametrize("name", VARIANTS)
def test_names_and_shapes_are_timms_and_parameters_the_published_ones(name):
    with torch.device("meta"):
        ours, theirs = HRNet(variant=name), timm.create_model(TIMM[name])
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
    expected = {
        key: tensor.shape
        for key, tensor in theirs.state_dict().items()
        if key.split(".")[0] not in HEAD
    }
    assert shapes == expected
    assert round(sum(p.numel() for p in ours.parameters()) / 1e6, 2) == MILLIONS[name]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_branch_equals_timms_in_double_precision(name):
    torch.manual_seed(0)
    theirs = timm.create_model(TIMM[name])
    _spread_norms(theirs)
    theirs = theirs.double().eval()
    ours = HRNet(variant=name)
    weights = {k: v for k, v in theirs.state_dict().items() if k.split(".")[0] not in HEAD}
    ours.load_state_dict(weights)
    ours = ours.double().eval()
    # the largest nets on one small image, the others on two sizes; none is square
    sizes = [(64, 96), (160, 32)] if MILLIONS[name] < 20 else [(64, 96)]
    for height, width in sizes:
        images = torch.randn(2, 3, height, width, dtype=torch.double)
        kept = images.clone()
        with torch.no_grad():
            x = theirs.act1(theirs.bn1(theirs.conv1(images)))
            expected = theirs.stages(theirs.act2(theirs.bn2(theirs.conv2(x))))
            result = ours(images)
        assert list(result) == ["hr2", "hr3", "hr4", "hr5"]
        for branch, reference in zip(result.values(), expected, strict=True):
            assert branch.shape == reference.shape
            assert (branch - reference).abs().max() <= 1e-5 * reference.abs().max()
        assert torch.equal(images, kept)


def _spread_norms(module: nn.Module) -> None:
    """Random norm weights and statistics, so that a norm left out or swapped would show."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.uniform_(m.weight, 0.5, 1.5)
            nn.init.normal_(m.bias, std=0.1)
            nn.init.normal_(m.running_mean, std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 1.5)


def test_a_variant_of_unequal_widths_builds_and_runs():
    variant = HRNetVariant(widths=(24, 20, 56, 40), stage1_blocks=1, blocks=1, modules=(1, 2, 1))
    net = HRNet(variant=variant).eval()
    shapes = net.output_shape()
    assert [shapes[n].channels for n in shapes] == [24, 20, 56, 40]
    assert net.state_dict()["stage4.0.fuse_layers.0.3.0.weight"].shape == (24, 40, 1, 1)
    assert net.state_dict()["transition3.3.0.0.weight"].shape == (40, 56, 3, 3)
    with torch.no_grad():
        result = net(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape) for x in result.values()] == [
        (1, 24, 16, 24),
        (1, 20, 8, 12),
        (1, 56, 4, 6),
        (1, 40, 2, 3),
    ]


def test_three_branches_and_a_width_equal_to_stage_1():
    variant = HRNetVariant(widths=(64, 32, 48), stage1_width=16, modules=(1, 1), blocks=1)
    net = HRNet(variant=variant).eval()
    assert net.size_divisibility == 16
    assert not [key for key in net.state_dict() if key.startswith("transition1.0")]
    with torch.no_grad():
        assert list(net(torch.randn(1, 3, 48, 16))) == ["hr2", "hr3", "hr4"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"widths": (18,), "modules": ()}, "at least 2"),
        ({"widths": (18, 36)}, "one number of modules"),
        ({"widths": (18, 36, 0, 144)}, "positive integer"),
        ({"widths": (18, 36, 72, 144), "blocks": 2.5}, "positive integer"),
    ],
)
def test_impossible_variants_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        HRNetVariant(**given)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'w19'; known: w18_small_v1, .*w64"):
        HRNet(variant="w19")
