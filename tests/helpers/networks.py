"""Small backbones with random weights, and their features side by side."""

import torch
from torch import nn

from hrnet_det import HRFPN, HRNet, HRNetVariant

TINY = HRNetVariant(
    widths=(8, 16, 24, 32), stage1_blocks=2, stage1_width=8, blocks=1, modules=(1, 1, 2)
)
WIDE = HRNetVariant(  # group norm's 32 groups divide its widths
    widths=(32, 64, 96, 128), stage1_blocks=1, stage1_width=32, blocks=1, modules=(1, 1, 1)
)
# Of the largest value. Group norm enlarges the rounding where its groups have few values.
BFLOAT16 = {"BN": 0.03, "": 0.03, "GN": 0.1}


def spread(model):
    """Weights, biases and statistics that are not 0 and 1, so that one left out would show."""
    for m in model.modules():
        if isinstance(m, nn.Conv2d) and m.bias is not None:
            nn.init.normal_(m.bias, std=0.3)
        if hasattr(m, "running_var"):
            nn.init.normal_(m.running_mean, std=0.3)
            nn.init.uniform_(m.running_var, 0.5, 1.5)
        if hasattr(m, "eps"):
            nn.init.uniform_(m.weight, 0.5, 1.2)
            nn.init.normal_(m.bias, std=0.3)
    return model


def hrfpn(bottom_up=None, **options):
    torch.manual_seed(0)
    options = {"out_channels": 32, **options}
    return spread(HRFPN(bottom_up=bottom_up or HRNet(variant=TINY), **options)).eval()


def images(height=64, width=96):
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))


def assert_near(result, expected, tolerance):
    """Every map, relative to its largest value; and all are channels_last."""
    assert list(result) == list(expected)
    for name, x in result.items():
        assert x.shape == expected[name].shape
        limit = tolerance * expected[name].abs().max()
        assert limit > 0 and (x.float() - expected[name]).abs().max() <= limit, name
        assert x.is_contiguous(memory_format=torch.channels_last), name


def total(features: dict) -> torch.Tensor:
    """A scalar in which every value of every feature has a weight of its own."""
    return sum((x * torch.linspace(-1, 2, x.numel()).view_as(x)).sum() for x in features.values())
