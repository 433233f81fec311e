"""A training step with MODEL.CONVENTIONS mmdet beside mmdetection's own."""

from functools import cache

import helpers.mmdet_reference as reference
import helpers.mmdet_training as mmdet
import helpers.training_pairs as ours
import pytest
from helpers.drawn_objects import drawn
from helpers.parity import distance

REASON = reference.unavailable()
pytestmark = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")
LOSS, MASK_LOSS = 1e-5, 5e-5  # relative differences
GRADIENT = dict.fromkeys(mmdet.KINDS, 1e-4) | {"faster_rcnn": 1e-6}
SIZES = ((128, 160), (96, 151))  # the second one has padding, of which 9 pixels are its own


@cache
def pair(kind):
    model = mmdet.build(kind, small=True)
    return model, ours.build(ours.config(kind, small=True, overrides=ours.MMDET), model)


def batch(tiny=2):
    return [drawn(size, tiny=tiny, seed=n) for n, size in enumerate(SIZES)]


def check_losses(apart):
    for name, difference in apart.losses.items():
        assert difference <= (MASK_LOSS if "mask" in name else LOSS), name


@pytest.mark.parametrize("tiny", [2, 0])  # objects under 15 pixels in each image
@pytest.mark.parametrize("kind", mmdet.KINDS)
def test_losses_gradients_and_proposals(kind, tiny):
    model, own = pair(kind)
    apart = ours.compare(ours.expected(model, batch(tiny)), own, batch(tiny))
    check_losses(apart)
    assert len(apart.losses) == {"faster_rcnn": 4, "mask_rcnn": 5, "cascade_rcnn": 8}.get(
        kind, 12 if kind == "htc" else 11
    )
    assert apart.gradient <= GRADIENT[kind]
    for (boxes, scores), (their_boxes, their_scores) in apart.proposals:
        found = distance((boxes, scores, None), (their_boxes, their_scores, None))
        assert len(boxes) > 500 and found.boxes <= 1e-3 and found.scores <= 1e-5


def test_the_same_with_our_own_proposals():
    model, own = pair("mask_rcnn")
    apart = ours.compare(ours.expected(model, batch()), own, batch(), injected=False)
    check_losses(apart)
    assert apart.gradient <= GRADIENT["mask_rcnn"]


def test_shipped_rules_differ():
    """What the comparison above would not let through: Detectron2's rules with the same weights."""
    model, _ = pair("mask_rcnn")
    shipped = ours.build(ours.config("mask_rcnn", small=True), model)
    apart = ours.compare(ours.expected(model, batch()), shipped, batch(), bitmaps=False)
    assert apart.losses["loss_rpn_loc"] > 0.1 and apart.losses["loss_mask"] > 1e-3
    assert apart.gradient > 0.05


@pytest.mark.parametrize("kind", ["mask_rcnn", "htc"])
def test_an_image_without_objects_beside_others(kind):
    (first, second), (model, own) = batch(), pair(kind)
    second = second._replace(
        boxes=second.boxes[:0], classes=second.classes[:0], polygons=[], masks=second.masks[:0]
    )
    apart = ours.compare(ours.expected(model, [first, second]), own, [first, second])
    check_losses(apart)
    assert apart.gradient <= GRADIENT[kind]
