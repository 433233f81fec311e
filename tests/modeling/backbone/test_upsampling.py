"""Bilinear upsampling in exchange units, and all branches as a backbone."""

import pytest
import torch
import torch.nn.functional as F

from hrnet_det.modeling import HRNet
from hrnet_det.modeling.backbone.exchange import HRModule
from hrnet_det.modeling.backbone.hrnetv2 import HRNetBranches


@torch.no_grad()
def test_each_coarser_branch_is_enlarged_on_its_own():
    torch.manual_seed(0)
    module = HRModule(
        widths=(4, 6, 8),
        blocks=1,
        norm="",
        targets=range(3),
        checkpointed=frozenset(),
        upsampling="bilinear",
    ).double()
    sizes = ((17, 25), (9, 13), (5, 7))
    maps = [torch.randn(2, c, *size).double() for c, size in zip((4, 6, 8), sizes, strict=True)]
    found = module(*maps)
    ours = [blocks(x) for blocks, x in zip(module.branches, maps, strict=True)]
    for i, size in enumerate(sizes):
        total = ours[i]
        for j, x in enumerate(ours):
            if j != i:
                x = module.fuse_layers[i][j](x)
            if j > i:
                x = F.interpolate(x, size=size, mode="bilinear", align_corners=True)
            total = total + x if j != i else total
        torch.testing.assert_close(found[i], total.relu())


@torch.no_grad()
@pytest.mark.parametrize("size", [(65, 97), (64, 96), (75, 90)])
def test_images_of_any_size(size):
    network = HRNet(variant="w18_small_v1", upsampling="bilinear").eval()
    backbone = HRNetBranches(bottom_up=network)
    maps = backbone(torch.zeros(1, 3, *size))
    for n, (name, x) in enumerate(maps.items()):
        stride = 4 * 2**n
        sides = tuple(-(-side // stride) for side in size)
        assert x.shape == (1, network.variant.widths[n], *sides)
        shape = backbone.output_shape()[name]
        assert (shape.channels, shape.stride) == (x.shape[1], stride)
    assert list(maps) == ["hr2", "hr3", "hr4", "hr5"] and backbone.size_divisibility == 32


def test_weights_of_one_are_weights_of_the_other_but_not_its_maps():
    torch.manual_seed(0)
    nearest = HRNet(variant="w18_small_v1").eval()
    bilinear = HRNet(variant="w18_small_v1", upsampling="bilinear").eval()
    bilinear.load_state_dict(nearest.state_dict())
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert not torch.allclose(nearest(image)["hr2"], bilinear(image)["hr2"], atol=1e-2)


def test_another_way_is_refused():
    with pytest.raises(ValueError, match="UPSAMPLING 'cubic': must be one of nearest, bilinear"):
        HRNet(variant="w18_small_v1", upsampling="cubic")
