"""HRNet as a backbone: gradients, norms, freezing, checkpointing, sizes, tracing."""

import copy

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.structures import ImageList
from helpers.networks import total
from torch import nn

from hrnet_det import HRFPN, VARIANTS, HRNet, HRNetV1, HRNetV2, HRNetVariant
from hrnet_det.modeling.backbone.checkpointing import CHECKPOINTING

TINY = HRNetVariant(
    widths=(8, 16, 24, 32), stage1_blocks=1, stage1_width=8, blocks=1, modules=(1, 2, 2)
)
BACKBONES = {
    "hrnet": lambda **kwargs: HRNet(**kwargs),
    "v1": lambda **kwargs: HRNetV1(bottom_up=HRNet(out_features=("hr2",), **kwargs)),
    "v2": lambda **kwargs: HRNetV2(bottom_up=HRNet(**kwargs)),
    "v2p": lambda **kwargs: HRFPN(bottom_up=HRNet(**kwargs), out_channels=32),
    "v2p from p3": lambda **kwargs: HRFPN(bottom_up=HRNet(**kwargs), out_channels=32, min_level=3),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_of_every_variant_gets_a_finite_gradient(name):
    torch.manual_seed(0)
    backbone = HRFPN(bottom_up=HRNet(variant=name))
    total(backbone(torch.randn(2, 3, 64, 32))).backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().sum() > 0, key


@pytest.mark.parametrize("kind", BACKBONES)
def test_output_shape_is_what_comes_out(kind):
    torch.manual_seed(0)
    backbone = BACKBONES[kind](variant=TINY)
    assert backbone.size_divisibility == 32
    assert backbone.padding_constraints == {}
    images = torch.randn(1, 3, 256, 384)
    kept = images.clone()
    features = backbone(images)
    assert torch.equal(images, kept)
    shapes = backbone.output_shape()
    assert list(features) == list(shapes)
    for name, x in features.items():
        stride = shapes[name].stride
        assert x.shape == (1, shapes[name].channels, 256 // stride, 384 // stride), name
    total(features).backward()
    unused = [key for key, p in backbone.named_parameters() if p.grad is None]
    assert unused == []


def test_strides_and_channels_of_the_branches():
    shapes = HRNet(variant="w18").output_shape()
    assert {n: (s.channels, s.stride) for n, s in shapes.items()} == {
        "hr2": (18, 4),
        "hr3": (36, 8),
        "hr4": (72, 16),
        "hr5": (144, 32),
    }
    v2 = HRNetV2(bottom_up=HRNet(variant="w18")).output_shape()["hrv2"]
    assert (v2.channels, v2.stride) == (15 * 18, 4)


def test_v2_is_the_concatenation_of_bilinear_maps_and_v1_the_finest_branch():
    torch.manual_seed(0)
    net = HRNet(variant=TINY).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        maps = net(images)
        expected = torch.cat(
            [
                nn.Upsample(scale_factor=2**i, mode="bilinear", align_corners=False)(x)
                for i, x in enumerate(maps.values())
            ],
            dim=1,
        )
        torch.testing.assert_close(HRNetV2(bottom_up=net)(images)["hrv2"], expected)
        finest = HRNet(variant=TINY, out_features=("hr2",)).eval()
        finest.load_state_dict(net.state_dict(), strict=False)
        result = HRNetV1(bottom_up=finest)(images)
    assert list(result) == ["hr2"]
    torch.testing.assert_close(result["hr2"], maps["hr2"])


def test_out_features_are_returned_in_order_without_what_only_others_need():
    torch.manual_seed(0)
    whole, part = HRNet(variant=TINY), HRNet(variant=TINY, out_features=("hr4", "hr2"))
    part.load_state_dict(whole.state_dict(), strict=False)
    missing = set(whole.state_dict()) - set(part.state_dict())
    assert missing
    assert all(
        k.startswith(("stage4.1.fuse_layers.1.", "stage4.1.fuse_layers.3.")) for k in missing
    )
    whole.eval(), part.eval()
    images = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        expected, result = whole(images), part(images)
    assert list(result) == ["hr2", "hr4"]
    for name, x in result.items():
        assert torch.equal(x, expected[name])


PARTS = sorted({"branch2", "branch3"}.union(*CHECKPOINTING.values()))
RECOMPUTED = [
    *((level, norm) for level in ("balanced", "smallest")
      for norm in ("BN", "SyncBN", "naiveSyncBN", "FrozenBN", "LN")),
    *((part, norm) for part in PARTS for norm in ("BN", "FrozenBN")),
]  # fmt: skip


@pytest.mark.parametrize(("level", "norm"), RECOMPUTED)
def test_recomputation_changes_neither_gradients_nor_statistics(level, norm, monkeypatch):
    """At each level, and with each part alone."""
    if level not in CHECKPOINTING:
        monkeypatch.setitem(CHECKPOINTING, level, frozenset({level}))
    torch.manual_seed(0)
    plain = HRFPN(bottom_up=HRNet(variant=TINY, norm=norm), out_channels=16).double()
    saving = HRFPN(
        bottom_up=HRNet(variant=TINY, norm=norm, activation_checkpointing=level),
        out_channels=16,
        activation_checkpointing=level,
    ).double()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 64, 64, dtype=torch.double)
    bytes_kept, outputs = [], []
    for backbone in (plain, saving):
        kept = {}

        def pack(x, kept=kept):
            kept[x.data_ptr()] = x.numel() * x.element_size()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            outputs.append(backbone(images))
        bytes_kept.append(sum(kept.values()))
        total(outputs[-1]).backward()
    assert bytes_kept[1] < {"balanced": 0.9, "smallest": 0.8}.get(level, 1) * bytes_kept[0]
    for name, x in outputs[0].items():
        assert (x - outputs[1][name]).abs().max() <= 1e-12 * x.abs().max(), name
    for (key, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        assert (a.grad - b.grad).abs().max() <= 1e-12 * a.grad.abs().max(), key
    for (key, a), b in zip(plain.state_dict().items(), saving.state_dict().values(), strict=True):
        assert torch.equal(a, b), key  # running statistics moved once, not twice
    if norm in ("BN", "SyncBN", "naiveSyncBN"):
        assert not torch.equal(plain.bottom_up.bn1.running_mean, torch.zeros(64).double())
        assert plain.bottom_up.bn1.momentum == saving.bottom_up.bn1.momentum == 0.1


def test_levels_keep_less_and_less():
    kept = {}
    for level in ("none", "balanced", "smallest"):
        net = HRNet(variant="w18_small_v2", activation_checkpointing=level)
        tensors = {}

        def pack(x, tensors=tensors):
            tensors[x.data_ptr()] = x.numel()
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            features = net(torch.randn(1, 3, 128, 128))
        kept[level] = sum(tensors.values())
        del features
    assert kept["smallest"] < 0.6 * kept["balanced"] < 0.6 * 0.75 * kept["none"]


def test_norm_eval_fixes_statistics_while_weights_train():
    torch.manual_seed(0)
    net = HRNet(variant=TINY, norm_eval=True).train()
    before = {k: v.clone() for k, v in net.state_dict().items() if "running" in k}
    total(net(torch.randn(2, 3, 32, 32))).backward()
    assert all(torch.equal(net.state_dict()[k], v) for k, v in before.items())
    assert net.bn1.weight.grad.abs().sum() > 0
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)
    assert net.training and net.layer1.training
    moving = HRNet(variant=TINY).train()
    moving(torch.randn(2, 3, 32, 32))
    assert not torch.equal(moving.bn1.running_mean, torch.zeros(64))


@pytest.mark.parametrize("freeze_at", range(6))
def test_freeze_at_freezes_the_stem_and_so_many_stages(freeze_at):
    net = HRNet(variant=TINY, freeze_at=freeze_at)
    parts = [
        ["conv1", "bn1", "conv2", "bn2"],
        ["layer1"],
        ["transition1", "stage2"],
        ["transition2", "stage3"],
        ["transition3", "stage4"],
    ]
    for number, names in enumerate(parts):
        frozen = number < freeze_at
        for name in names:
            part = getattr(net, name)
            assert all(p.requires_grad != frozen for p in part.parameters()), name
            kinds = {
                type(m)
                for m in part.modules()
                if isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm2d))
            }
            expected = (
                set() if "conv" in name else {FrozenBatchNorm2d if frozen else nn.BatchNorm2d}
            )
            assert kinds == expected, name
    free = HRNet(variant=TINY)
    assert {k for k in free.state_dict() if "num_batches" not in k} == {
        k for k in net.state_dict() if "num_batches" not in k
    }
    if freeze_at < 5:
        total(net(torch.randn(2, 3, 32, 32))).backward()
        assert all((p.grad is not None) == p.requires_grad for p in net.parameters())


@pytest.mark.parametrize(
    "norm", ["BN", "SyncBN", "FrozenBN", "GN", "LN", "nnSyncBN", "naiveSyncBN", ""]
)
def test_every_detectron2_norm_runs(norm):
    torch.manual_seed(0)
    variant = HRNetVariant(
        widths=(32, 64, 96, 128), stage1_blocks=1, stage1_width=32, blocks=1, modules=(1, 1, 1)
    )
    net = HRNet(variant=variant, norm=norm)
    features = net(torch.randn(2, 3, 64, 32))
    assert all(torch.isfinite(x).all() for x in features.values())
    assert (net.conv1.bias is None) == (norm != "")


def test_a_callable_norm_is_used():
    net = HRNet(variant=TINY, norm=lambda channels: nn.InstanceNorm2d(channels, affine=True))
    assert isinstance(net.stage2[0].branches[0][0].bn1, nn.InstanceNorm2d)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"norm": "BatchNorm"}, r"unknown norm 'BatchNorm'; Detectron2 has BN, SyncBN"),
        ({"variant": "w18", "norm": "GN"}, r"32 groups.*18 channels.*w32"),
        ({"norm": "GN", "norm_eval": True, "variant": "w32"}, r"no running statistics.*NORM_EVAL"),
        ({"out_features": ("hr2", "hr6")}, r"'hr6'.*must be some of \['hr2'"),
        ({"out_features": ()}, r"must be some of"),
        ({"freeze_at": 6}, r"FREEZE_AT 6: .* up to 5 the whole network"),
        ({"freeze_at": -1}, r"FREEZE_AT -1"),
        ({"activation_checkpointing": "all"}, r"'all'; known: none, balanced, smallest"),
    ],
)
def test_wrong_arguments_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        HRNet(**{"variant": TINY, **given})


def test_v1_refuses_more_than_the_finest_branch():
    with pytest.raises(ValueError, match=r"must return \['hr2'\], not \['hr2', 'hr3'"):
        HRNetV1(bottom_up=HRNet(variant=TINY))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", BACKBONES)
def test_an_empty_batch_gives_empty_maps_and_leaves_statistics_finite(kind, training):
    backbone = BACKBONES[kind](variant=TINY).train(training)
    features = backbone(torch.zeros(0, 3, 64, 96))
    for name, shape in backbone.output_shape().items():
        height, width = 64 // shape.stride, 96 // shape.stride
        if shape.stride < 64:
            assert features[name].shape == (0, shape.channels, height, width), name
    assert all(torch.isfinite(buffer).all() for buffer in backbone.buffers())


def test_a_batch_of_one_trains_with_batch_norm():
    torch.manual_seed(0)
    net = HRNet(variant=TINY)
    total(net(torch.randn(1, 3, 64, 32))).backward()
    assert torch.isfinite(net.conv1.weight.grad).all()
    with pytest.raises(ValueError, match=r"32x32 pixels leaves batch norm a single value"):
        net(torch.randn(1, 3, 32, 32))
    net.eval()(torch.randn(1, 3, 32, 32))
    HRNet(variant=TINY, norm_eval=True).train()(torch.randn(1, 3, 32, 32))


SIDES = (32, 33, 63, 64, 100, 255, 640, 800, 1216, 1333)


@pytest.mark.parametrize("kind", ["hrnet", "v2p", "v2p from p3"])
def test_every_image_from_32_to_1333_pixels_works_as_detectron2_pads_it(kind):
    """One side goes through all sizes while the other is short, and the other way round."""
    torch.manual_seed(0)
    backbone = BACKBONES[kind](variant=TINY).eval()
    for side in SIDES:
        for height, width in ((side, 40), (40, side)):
            batch = ImageList.from_tensors(
                [torch.rand(3, height, width)],
                backbone.size_divisibility,
                padding_constraints=backbone.padding_constraints,
            ).tensor
            with torch.no_grad():
                features = backbone(batch)
            for name, shape in backbone.output_shape().items():
                sides = [_side(n, shape.stride, kind) for n in batch.shape[-2:]]
                assert list(features[name].shape[-2:]) == sides, (name, side)


def _side(pixels: int, stride: int, kind: str) -> int:
    if kind != "v2p from p3":
        return max(pixels // stride, 1)
    pooled = max(pixels // (stride // 2), 1)
    return -(-pooled // 2)  # a 3x3 convolution of stride 2 and padding 1 rounds up


@pytest.mark.parametrize(("height", "width"), [(100, 64), (64, 36), (1333, 800), (40, 64)])
def test_a_size_whose_branches_do_not_fit_is_named_with_the_one_that_does(height, width):
    fits = f"{-(-height // 32) * 32}x{-(-width // 32) * 32}"
    with pytest.raises(ValueError, match=f"{height}x{width} pixels.*pad it to {fits}"):
        HRNet(variant=TINY).eval()(torch.zeros(1, 3, height, width))


def test_up_to_three_pixels_less_than_a_multiple_are_the_same_to_the_stem():
    net = HRNet(variant=TINY).eval()
    with torch.no_grad():
        features = net(torch.rand(1, 3, 61, 62))
    assert [tuple(x.shape[-2:]) for x in features.values()] == [(16, 16), (8, 8), (4, 4), (2, 2)]


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 4, 64, 64), (1, 3, 0, 64)])
def test_what_is_no_batch_of_images_is_refused(shape):
    with pytest.raises(ValueError, match="HRNet"):
        HRNet(variant=TINY)(torch.zeros(shape))


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_backbone_equals_the_plain_one_at_other_sizes_too(kind):
    torch.manual_seed(0)
    backbone = BACKBONES[kind](variant=TINY).eval()
    with torch.no_grad():
        traced = torch.jit.trace(backbone, torch.randn(1, 3, 64, 128), strict=False)
        for size in ((1, 3, 64, 128), (2, 3, 128, 96)):
            images = torch.randn(size)
            for name, x in backbone(images).items():
                torch.testing.assert_close(traced(images)[name], x, msg=f"{name} {size}")


def test_channels_last_gives_the_same():
    torch.manual_seed(0)
    backbone = BACKBONES["v2p"](variant=TINY).double().eval()
    images = torch.randn(2, 3, 64, 96, dtype=torch.double)
    with torch.no_grad():
        expected = backbone(images)
        backbone = copy.deepcopy(backbone).to(memory_format=torch.channels_last)
        result = backbone(images.to(memory_format=torch.channels_last))
    for name, x in result.items():
        torch.testing.assert_close(x, expected[name])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("level", ["none", "smallest"])
def test_on_a_gpu_outputs_and_gradients_are_those_of_the_cpu(level):
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    cpu = HRNet(variant="w18", activation_checkpointing=level).double()
    gpu = copy.deepcopy(cpu).cuda()
    images = torch.randn(2, 3, 64, 96, dtype=torch.double)
    expected, result = cpu(images), gpu(images.cuda())
    for name, x in expected.items():
        torch.testing.assert_close(result[name].cpu(), x)
    sum(x.sum() for x in expected.values()).backward()
    sum(x.sum() for x in result.values()).backward()
    torch.testing.assert_close(gpu.conv1.weight.grad.cpu(), cpu.conv1.weight.grad)
