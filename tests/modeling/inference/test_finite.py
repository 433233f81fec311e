"""Numbers that stop being finite: told with the module and the image, in either form."""

import re

import pytest
import torch
from detectron2.structures import Boxes, ImageList, Instances
from helpers.detectors import detector, rows
from torch import nn

from hrnet_det.errors import InputError
from hrnet_det.modeling.inference.finite import all_finite, images_are_named, tensors_in, watched
from hrnet_det.modeling.inference.optimize import optimize_for_inference

NAN, INF = torch.tensor(float("nan")), torch.tensor([1.0, float("inf")])


def test_tensors_in_nests():
    a, b, c, d = (torch.full((2, 4), float(k)) for k in range(4))
    objects = Instances((4, 4), boxes=Boxes(a), scores=b[:, 0], classes=torch.ones(2).long())
    nest = {"x": [objects, (c, "text", None, 3.0)], "y": ImageList(d, [(2, 4)])}
    assert [float(t.mean()) for t in tensors_in(nest)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("value", "finite"),
    [
        ([], True),
        (torch.zeros(0), True),
        (torch.full((9,), 3e38), True),  # whose sum is infinite
        ((torch.tensor([3e38, 3e38]), INF), False),
        ({"a": torch.ones(3), "b": (torch.ones(1), NAN)}, False),
        (-INF, False),
        (torch.tensor([float("inf"), float("-inf")]), False),
        (torch.tensor(float("inf"), dtype=torch.bfloat16), False),
    ],
)
def test_all_finite(value, finite):
    assert all_finite(value) is finite


def test_the_innermost_module_is_told_once():
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Linear(1, 1), nn.ReLU()), nn.ReLU())
    nn.init.constant_(model[1][0].weight, float("nan"))
    told = []
    with watched(model.named_modules(), told.append):
        model(torch.ones(1, 1))
        model(torch.ones(1, 1))
    assert told == ["1.0 (Linear)"]
    model(torch.ones(1, 1))
    assert not any(m._forward_hooks for m in model.modules())


def named():
    return [row | {"file_name": f"images/{number}.jpg"} for number, row in enumerate(rows())]


# Kinds, the layer to enlarge, and what is told.
BOX = "roi_heads.box_predictor"
CASES = [
    ("faster", "backbone.bottom_up.layer1.0.conv2", "backbone (HRFPN)"),
    ("fcos", "backbone.bottom_up.layer1.0.conv2", "backbone (HRFPN)"),
    ("cascade mask", "backbone.bottom_up.layer1.0.conv2", "backbone (HRFPN)"),
    ("faster", f"{BOX}.bbox_pred", f"{BOX} (FastRCNNOutputLayers)"),
    ("fcos", "head.cls_score", "head (FCOSHead)"),
    ("cascade mask", f"{BOX}.1.bbox_pred", f"{BOX}.1 (FastRCNNOutputLayers)"),
    ("htc", f"{BOX}.0.cls_score", f"{BOX}.0 (FastRCNNOutputLayers)"),
]


@pytest.mark.parametrize(("kind", "layer", "told"), CASES)
@torch.no_grad()
def test_the_image_is_named(kind, layer, told):
    model = detector(kind)
    model.get_submodule(layer).weight.fill_(3e38)
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    said = (
        "images/0.jpg, images/1.jpg: the detector's numbers are not finite, first in "
        f"{told}. Its weights are damaged or of a training that has diverged, or too large for "
        "TEST.DTYPE: take an earlier checkpoint, or float32"
    )
    for form in (model, optimize_for_inference(model)):
        with pytest.raises(InputError, match=re.escape(said)), images_are_named(form):
            form(named())
        assert not form._forward_pre_hooks


@torch.no_grad()
def test_boxes_of_a_cascade_beyond_all_numbers():
    model = detector("cascade mask")
    nn.init.constant_(model.roi_heads.box_predictor[0].bbox_pred.bias, 3e38)
    said = r"^images/0\.jpg, images/1\.jpg: .* first in boxes"
    with pytest.raises(InputError, match=said), images_are_named(model):
        model(named())


@torch.no_grad()
def test_in_a_training_it_is_only_said_and_once():
    model, said = detector("faster"), []
    with images_are_named(model, said.append):
        model(named()[:1])
    assert said == []
    model.roi_heads.box_predictor.bbox_pred.weight.fill_(3e38)
    with images_are_named(model, said.append):
        model(named()[:1])
        model(named()[1:])
    assert len(said) == 1 and said[0].startswith("images/0.jpg: the detector's numbers are not")
