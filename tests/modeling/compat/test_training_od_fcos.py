"""FCOS with MODEL.CONVENTIONS hrnet_object_detection in training, beside its formulas."""

from dataclasses import replace
from typing import NamedTuple

import helpers.od_training_fcos as reference
import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from helpers.od_training import Objects

from hrnet_det import model_zoo
from hrnet_det.checkpoint.formats import MMDET_1
from hrnet_det.checkpoint.model_config import known_config
from hrnet_det.modeling.compat.conventions import CONVENTIONS

OD = "hrnet_object_detection"
SIZES, PADDED = ((200, 250), (256, 180)), (256, 256)  # height, width in pixels
CLASSES, CHANNELS = 5, 32
CLOSED = torch.tensor([0, 0, 1, 1])  # ours are half-open


class Case(NamedTuple):
    weights: dict  # of the head, under the source's names
    features: list
    objects: list
    losses: dict  # the source's
    gradient: torch.Tensor  # of their sum with respect to all cells of the pyramid


@pytest.fixture(scope="module")
def case():
    generator = torch.Generator().manual_seed(3)
    weights = reference.random_weights(channels=CHANNELS, classes=CLASSES)
    features = [
        torch.randn(2, CHANNELS, *(side // s for side in PADDED), generator=generator)
        for s in reference.STRIDES
    ]
    features = [f.requires_grad_() for f in features]
    objects = [some_objects(size, generator) for size in SIZES]
    losses = reference.losses(weights, features, objects)
    return Case(weights, features, objects, losses, gradient(losses, features))


def some_objects(size, generator):
    """Of all levels but the coarsest, within one another, and at the ends of what fits a point."""
    corners = torch.rand(12, 2, 2, generator=generator) * (torch.tensor(size[::-1]) - 1)
    first, last = corners.sort(dim=1).values.unbind(1)
    boxes = torch.cat([first, last], dim=1)
    boxes[0] = torch.tensor([0.0, 0, size[1] - 1, size[0] - 1])
    boxes[1] = torch.tensor([15.0, 15, 28, 28])  # its last pixel is a point, which is not inside
    boxes[2] = torch.tensor([2.0, 2, 68, 60])  # 64 pixels from a point, the end of its range
    boxes[3] = boxes[4] = torch.tensor([30.0, 30, 70, 65])  # the first of the two has the points
    labels = torch.randint(0, CLASSES, (12,), generator=generator)
    labels[3:5] = torch.tensor([1, 2])
    return Objects(boxes, labels, torch.zeros(0))


def gradient(losses, features):
    return torch.cat([g.flatten() for g in torch.autograd.grad(sum(losses.values()), features)])


def run(case, *overrides):
    """Our losses of the case, and their gradient."""
    options = f"""
    MODEL.DEVICE cpu
    MODEL.HRNET.VARIANT w18_small_v1
    MODEL.HRFPN.OUT_CHANNELS {CHANNELS}
    MODEL.FCOS.NUM_CLASSES {CLASSES}
    """
    model = model_zoo.build_detector(known_config("fcos", OD, [*options.split(), *overrides]))
    state = {MMDET_1.to_ours(n): tensor for n, tensor in case.weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("backbone.") for name in missing)
    names = model.head_in_features
    model.backbone.forward = lambda _: dict(zip(names, case.features, strict=True))
    made = []
    for (height, width), objects in zip(SIZES, case.objects, strict=True):
        instances = Instances((height, width), gt_boxes=Boxes(objects.boxes + CLOSED))
        instances.gt_classes = objects.labels
        made.append({"image": torch.zeros(3, height, width), "instances": instances})
    with EventStorage():
        found = model.train()(made)
    return found, gradient(found, case.features)


def test_losses_and_gradients(case):
    found, its = run(case)
    assert found.keys() == case.losses.keys()
    for name, value in case.losses.items():
        assert found[name].item() == pytest.approx(value.item(), rel=1e-6), name
    assert (its - case.gradient).norm() <= 1e-6 * case.gradient.norm()


def differs(found, case):
    return any(abs(found[name] / value - 1) > 1e-4 for name, value in case.losses.items())


@pytest.mark.parametrize("rule", [{"closed_boxes": False}, {"fcos_exact_matches": False}])
def test_each_rule_shows(case, rule, monkeypatch):
    """With any of its rules left out, the source's losses are not met."""
    monkeypatch.setitem(CONVENTIONS, OD, replace(CONVENTIONS[OD], **rule))
    assert differs(run(case)[0], case)


KEYS = [
    "MODEL.FCOS.CENTER_SAMPLING_RADIUS 1.5",
    "MODEL.FCOS.BOX_LOSS giou",
    "MODEL.FCOS.NORMALIZER batch",
    "MODEL.FCOS.NORMALIZER moving_average",
]


@pytest.mark.parametrize("override", KEYS)
def test_each_key_shows(case, override):
    assert differs(run(case, *override.split())[0], case)
