"""What layers start from with MODEL.CONVENTIONS mmdet, beside mmdetection's own initial values."""

from functools import cache

import helpers.mmdet_reference as reference
import helpers.mmdet_training as mmdet
import helpers.training_pairs as ours
import pytest
import torch

from hrnet_det.checkpoint.renaming import rename
from hrnet_det.modeling.build_model import build_detector

REASON = reference.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")
KINDS = ("faster_rcnn", "mask_rcnn", "cascade_mask_rcnn", "htc")


@cache
def starts(kind):
    """Ours and mmdetection's initial values of all but the backbone, by our names."""
    torch.manual_seed(0)
    with reference._quiet():
        theirs = mmdet.initial(mmdet.config(kind, small=True))
    renamed = rename(dict(theirs.state_dict()), "mmdetection's initial values").weights
    model = build_detector(ours.config(kind, small=True, overrides=ours.MMDET))
    heads = {n: x.detach() for n, x in model.named_parameters() if "bottom_up" not in n}
    return heads, {name: renamed[name] for name in heads}


def shape_of(x):
    """Deviation from 0, and how far the largest value is from it: 1.73 of uniform ones."""
    return x.square().mean().sqrt().item(), x.abs().max().item()


@pytest.mark.parametrize("kind", KINDS)
def test_initial_values_are_of_the_same_distributions(kind):
    found, expected = starts(kind)
    assert len(found) > 20
    for name, x in found.items():
        rms, most = shape_of(x)
        their_rms, their_most = shape_of(expected[name])
        assert (rms == 0) == (their_rms == 0), name
        if their_rms == 0:
            continue
        # Five deviations of a sample's rms, of which uniform values have half of normal ones'.
        assert rms == pytest.approx(their_rms, rel=5 / x.numel() ** 0.5), name
        if x.numel() > 1000:
            uniform, their_uniform = (m < 2 * r for m, r in ((most, rms), (their_most, their_rms)))
            assert uniform == their_uniform, name


def test_which_differ_from_detectron2():
    torch.manual_seed(0)
    shipped = build_detector(ours.config("mask_rcnn", small=True))
    _, expected = starts("mask_rcnn")
    apart = {
        name
        for name, x in shipped.named_parameters()
        if "bottom_up" not in name
        and shape_of(x.detach())[0]
        != pytest.approx(shape_of(expected[name])[0], rel=5 / x.numel() ** 0.5)
    }
    assert apart == {
        "backbone.reduction_conv.weight",
        "roi_heads.box_head.fc1.weight",
        "roi_heads.mask_head.predictor.weight",
    }
