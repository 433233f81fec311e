"""Rules of matching beside mmdetection's assigner and anchors; each one shows in the losses."""

from dataclasses import replace

import helpers.mmdet_reference as reference
import helpers.mmdet_training as mmdet
import helpers.training_pairs as ours
import pytest
import torch
from detectron2.structures import Boxes
from helpers.drawn_objects import drawn

from hrnet_det.modeling.compat.conventions import CONVENTIONS
from hrnet_det.modeling.compat.matching import TakeoverMatcher, sampled_share, usable_anchors

REASON = reference.unavailable()
needs_mmdetection = pytest.mark.skipif(REASON is not None, reason=f"no mmdetection: {REASON}")


@needs_mmdetection
@pytest.mark.parametrize(
    ("thresholds", "labels", "least"), [((0.3, 0.7), (0, -1, 1), 0.3), ((0.5,), (0, 1), 0.5)]
)
@pytest.mark.parametrize("objects", [0, 1, 40])
def test_matches_are_those_of_the_assigner(thresholds, labels, least, objects):
    """IoUs in steps of 0.05: many boxes share an object's best, and many objects share a box."""
    reference._import()
    from mmdet.models.task_modules import MaxIoUAssigner

    generator = torch.Generator().manual_seed(objects)
    ious = torch.randint(0, 18, (objects, 300), generator=generator) / 20
    ious[: objects // 2] *= 0.4  # of some the best is too low
    assigner = MaxIoUAssigner(thresholds[-1], thresholds[0], least)
    expected = assigner.assign_wrt_overlaps(ious, torch.zeros(objects, dtype=torch.long)).gt_inds
    matches, found = TakeoverMatcher(thresholds, labels, least)(ious)
    assert torch.equal(found.long(), expected.clamp(max=1))
    assert torch.equal(matches[found == 1], expected[found == 1] - 1)
    if objects == 40:
        assert {-1, 0, 1} >= set(found.tolist()) and (found == 1).sum() > 50
        best = ious.max(dim=0).values
        assert (best[found == 1] < thresholds[-1]).any() == (least < thresholds[-1])


def test_an_object_takes_over_the_box_of_another():
    ious = torch.tensor([[0.9, 0.2, 0.0], [0.8, 0.1, 0.0], [0.0, 0.29, 0.1]])
    matches, labels = TakeoverMatcher([0.3, 0.7], [0, -1, 1], 0.3)(ious)
    assert matches[0] == 1 and labels.tolist() == [1, 0, 0]  # the third object's best is too low
    matches, labels = TakeoverMatcher([0.3, 0.7], [0, -1, 1], 0.0)(ious)
    assert matches.tolist()[:2] == [1, 2] and labels.tolist() == [1, 1, 0]


@needs_mmdetection
@pytest.mark.parametrize("border", [-1, 0])
@pytest.mark.parametrize(
    ("size", "batch"),
    [((s, t), (128, 160)) for s, t in ((96, 151), (70, 97), (128, 160))]
    + [((705, 1239 - 32 * n), (800, 1344)) for n in range(2)],
)
def test_usable_anchors_are_those_of_mmdetection(size, batch, border):
    reference._import()
    from mmdet.models.task_modules.prior_generators import AnchorGenerator, anchor_inside_flags

    generator = AnchorGenerator(strides=[4, 8, 16, 32, 64], ratios=[0.5, 1, 2], scales=[8])
    maps = [(batch[0] // s, batch[1] // s) for s in (4, 8, 16, 32, 64)]
    padded = tuple(-(-side // 32) * 32 for side in size)
    levels = generator.grid_priors(maps, device="cpu")
    valid = torch.cat(generator.valid_flags(maps, padded, "cpu"))
    expected = anchor_inside_flags(torch.cat(levels), valid, size, border)
    found = usable_anchors([Boxes(x) for x in levels], [3] * 5, size, border, closed=False)
    assert torch.equal(found, expected)
    assert found.all() == (border < 0 and padded == batch)


def test_sampled_share_counts_one_at_least():
    labels = [torch.tensor([0, 0, -1, 1]), torch.tensor([0, 0, -1, -1])]
    assert sampled_share(labels, 4) == (3 + 3) / 8


# A rule that is Detectron2's again, of which detector, and the loss term in which it shows.
RULES = [
    ("faster_rcnn", "rpn_least_iou", 0.0, "loss_rpn_loc"),
    ("faster_rcnn", "takes_over", False, "loss_rpn_loc"),
    ("faster_rcnn", "drops_anchors_first", False, "loss_rpn_cls"),
    ("faster_rcnn", "divides_by_sampled", False, "loss_rpn_cls"),
    ("mask_rcnn", "adds_objects_matched", False, "loss_box_reg"),
    ("mask_rcnn", "mask_targets", "polygon", "loss_mask"),
    ("cascade_rcnn", "keeps_empty_boxes", False, "loss_cls_stage1"),
    ("htc", "semantic_mean", "labelled", "loss_sem_seg"),
]


@needs_mmdetection
@pytest.mark.parametrize(("kind", "rule", "value", "term"), RULES)
def test_each_rule_shows(kind, rule, value, term, monkeypatch):
    model = mmdet.build(kind, small=True)
    if rule == "keeps_empty_boxes":  # boxes leave the image
        with torch.no_grad():
            model.roi_head.bbox_head[0].fc_reg.weight *= 100
    tiny = 9 if rule == "divides_by_sampled" else 2
    batch = [drawn((128, 160)), drawn((96, 151), tiny=tiny, seed=1)]
    cfg = ours.config(kind, small=True, overrides=ours.MMDET)
    goal = ours.expected(model, batch)
    same = ours.compare(goal, ours.build(cfg, model), batch)
    rules = CONVENTIONS["mmdet"]
    changed = replace(rules, training=replace(rules.training, **{rule: value}))
    monkeypatch.setitem(CONVENTIONS, "mmdet", changed)
    bitmaps = rule != "mask_targets"
    other = ours.compare(goal, ours.build(cfg, model), batch, bitmaps=bitmaps)
    least = 5e-5 if "mask" in term else 1e-5
    assert same.losses[term] <= least < 1e-3 < other.losses[term]


@needs_mmdetection
@pytest.mark.parametrize("kind", ["mask_rcnn", "htc_without_semantics"])
def test_masks_are_padded_but_for_htc(kind, monkeypatch):
    """In the image's corner, which an object fills, a padded mask goes on with 0."""
    model = mmdet.build(kind, small=True)
    image = drawn((96, 151), seed=1)
    image.boxes[-1] = torch.tensor([143.0, 88, 151, 96])  # cells of 2 / 7 pixels
    image.masks[-1] = 0
    image.masks[-1, 88:, 143:] = 1
    batch = [drawn((128, 160)), image]
    own = ours.build(ours.config(kind, small=True, overrides=ours.MMDET), model)
    goal = ours.expected(model, batch)
    losses = ours.compare(goal, own, batch).losses
    terms = [name for name in losses if "mask" in name]
    assert max(losses[name] for name in terms) <= 1e-6
    monkeypatch.setattr(type(own.roi_heads), "pads_masks", kind != "mask_rcnn")
    other = ours.compare(goal, own, batch).losses
    assert max(other[name] for name in terms) > 1e-5
