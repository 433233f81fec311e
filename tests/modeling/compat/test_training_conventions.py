"""Every two-stage detector trains with every MODEL.CONVENTIONS, all its parts."""

import helpers.training_pairs as ours
import pytest
import torch
from detectron2.modeling.matcher import Matcher
from helpers.drawn_objects import drawn

from hrnet_det.errors import InputError
from hrnet_det.modeling.build_model import build_detector
from hrnet_det.modeling.compat.conventions import CONVENTIONS
from hrnet_det.modeling.compat.matching import TakeoverMatcher


def built(kind, *overrides):
    torch.manual_seed(0)
    return build_detector(ours.config(kind, small=True, overrides=overrides)).train()


@pytest.mark.parametrize("name", CONVENTIONS)
@pytest.mark.parametrize("kind", ["mask_rcnn", "htc"])
def test_every_part_gets_gradients(kind, name):
    model = built(kind, "MODEL.CONVENTIONS", name)
    batch = [drawn((96, 128)), drawn((64, 96), seed=1)]
    bitmaps = CONVENTIONS[name].training.bitmaps
    losses = ours.step(model, batch, None, bitmaps=bitmaps).losses
    assert len(losses) == {"mask_rcnn": 5, "htc": 12}[kind]
    sum(losses.values()).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == [] and all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("name", CONVENTIONS)
def test_semantic_loss_is_a_mean_over_labelled_or_all_cells(name):
    head = built("htc", "MODEL.CONVENTIONS", name).roi_heads.semantic_head
    logits, targets = torch.randn(1, 183, 8, 8), torch.full((1, 64, 64), 255)
    targets[:, :16, :24] = 7  # 2 x 3 of 8 x 8 cells
    loss = head.losses(logits, targets)["loss_sem_seg"]
    sums = -logits.log_softmax(dim=1)[0, 7, :2, :3].sum()
    assert loss.item() == pytest.approx(0.2 * sums.item() / (64 if name == "mmdet" else 6))


@pytest.mark.parametrize("name", ["detectron2", "maskrcnn_benchmark"])
def test_rules_of_detectron2(name):
    """Also where other outputs are computed: maskrcnn-benchmark is what Detectron2 came from."""
    model = built("mask_rcnn", "MODEL.CONVENTIONS", name)
    assert type(model.proposal_generator.anchor_matcher) is Matcher
    assert type(model.roi_heads.proposal_matcher) is Matcher
    assert not model.roi_heads.proposal_matcher.allow_low_quality_matches


@pytest.mark.parametrize(
    ("kind", "leasts"),
    [
        ("faster_rcnn", [None]),
        ("mask_rcnn", [0.5]),
        ("cascade_mask_rcnn", [None] * 3),
        ("htc", [0.5, 0.6, 0.7]),
    ],
)
def test_low_quality_matches_of_boxes_as_mmdetections_configs(kind, leasts):
    heads = built(kind, "MODEL.CONVENTIONS", "mmdet").roi_heads
    stages = getattr(heads, "proposal_matchers", [heads.proposal_matcher])
    assert [m.least_iou if isinstance(m, TakeoverMatcher) else None for m in stages] == leasts


def test_low_quality_matches_need_other_conventions():
    with pytest.raises(InputError) as error:
        built("mask_rcnn", "MODEL.ROI_HEADS.LOW_QUALITY_MATCHES", "always")
    assert "MODEL.ROI_HEADS.LOW_QUALITY_MATCHES 'always': Detectron2's RoI heads" in str(
        error.value
    )
    assert "set it to never, or MODEL.CONVENTIONS mmdet" in str(error.value)


@torch.no_grad()
def test_an_image_without_objects_and_one_whose_anchors_all_cross_the_border():
    model = built("cascade_rcnn", "MODEL.CONVENTIONS", "mmdet")
    empty = drawn((64, 64))
    empty = empty._replace(boxes=empty.boxes[:0], classes=empty.classes[:0], polygons=[])
    small = drawn((24, 40), tiny=9)
    empty = empty._replace(masks=empty.masks[:0])
    losses = ours.step(model, [empty, small], None, bitmaps=True).losses
    assert all(torch.isfinite(loss) for loss in losses.values()) and losses["loss_rpn_cls"] > 0
    alone = ours.step(model, [small], None, bitmaps=True).losses
    assert alone["loss_rpn_cls"] == alone["loss_rpn_loc"] == 0
