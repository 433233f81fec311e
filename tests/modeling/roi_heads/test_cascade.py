"""Cascade R-CNN with samples and a mask head in every stage: what it computes and learns."""

import pytest
import torch
import torch.nn.functional as F
from detectron2.utils.events import EventStorage
from helpers.cascades import (
    NAMES,
    TWO,
    check_detections,
    check_stage_weights,
    check_stages,
    conv,
    losses,
    row,
)
from helpers.detectors import config, detector

from hrnet_det import model_zoo
from hrnet_det.analysis.dry_run import run_layers
from hrnet_det.errors import InputError
from tools.complexity import on_meta


@pytest.fixture
def model():
    return detector("cascade mask")


def mask_logits(heads, x):
    """(R, 3, 28, 28) of each stage's mask head."""
    logits = []
    for head in heads.mask_head:
        y = conv(head.mask_fcn1, x).relu()
        up = F.conv_transpose2d(y, head.deconv.weight, head.deconv.bias, stride=2).relu()
        logits.append(conv(head.predictor, up))
    return logits


@torch.no_grad()
def test_boxes_scores_and_masks_by_the_papers_formulas(model):
    images = model.preprocess_image([row(TWO)])
    check_detections(model.roi_heads, images, model.backbone(images.tensor), mask_logits, samples=0)


def test_stages_learn_from_the_boxes_that_they_get(model, monkeypatch):
    check_stages(model, monkeypatch, refined=False)


def test_every_parameter_learns(model):
    found, _ = losses(model, row(TWO), row([]))
    assert set(found) == NAMES | {"loss_rpn_cls", "loss_rpn_loc"}
    assert all(value > 0 for name, value in found.items() if "rpn_loc" not in name), found
    sum(found.values()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not [name for name in without if "roi_heads" in name]


@torch.no_grad()
def test_a_stages_mask_loss_is_that_of_its_own_head_and_weight(model):
    x = torch.randn(2, 64, 14, 14, generator=torch.Generator().manual_seed(0))
    objects = row(TWO)["instances"]
    objects.proposal_boxes = objects.gt_boxes  # whose masks fill them
    for stage, logits in enumerate(mask_logits(model.roi_heads, x)):
        of_class = logits[torch.arange(2), objects.gt_classes]
        with EventStorage():
            found = model.roi_heads.mask_head.losses(x, [objects], stage)["loss_mask"].item()
        assert found == pytest.approx(F.softplus(-of_class).mean().item(), rel=1e-4)
    check_stage_weights(model)


def test_parameters_are_the_published_ones():
    """63.1, 82.9 and 118.9 million, arXiv:1908.07919 Table VII: with masks of the background."""
    for variant, published in (("w18", 63.1), ("w32", 82.9), ("w48", 118.9)):
        model = on_meta(model_zoo.get_config(f"cascade_mask_rcnn_hrnetv2p_{variant}_20e"))
        counted = sum(p.numel() for p in model.parameters())
        assert round((counted + 3 * (256 + 1)) / 1e6, 1) == published


def test_all_layers_run_for_a_number_of_boxes(model):
    """In training each mask head has boxes of its own; in inference all have the same."""
    for mode in (model.train, model.eval):
        mode()
        outputs = run_layers(model, torch.rand(1, 3, 64, 96), boxes=5, objects=2)
        assert [x.shape for x in outputs.boxes] == [(5, 4)] * 6 + [(2, 3, 28, 28)] * 3


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS", "[1.0]",
         "MODEL.ROI_BOX_CASCADE_HEAD.STAGE_LOSS_WEIGHTS [1.0]: one for each of the 3 stages "
         "(MODEL.ROI_BOX_CASCADE_HEAD.IOUS)"),
        ("ROI_BOX_CASCADE_HEAD.IOUS", "(0.5, 0.6)",
         "MODEL.ROI_BOX_CASCADE_HEAD has 2 IOUS, one for each stage, and 3 BBOX_REG_WEIGHTS"),
        ("ROI_BOX_CASCADE_HEAD.IOUS", "(0.6, 0.7, 0.8)",
         "MODEL.ROI_BOX_CASCADE_HEAD.IOUS begin with 0.6, but MODEL.ROI_HEADS.IOU_THRESHOLDS is "
         "[0.5]: the first stage has both"),
        ("ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", "False",
         "a cascade's boxes are of no class: MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG True"),
        ("KEYPOINT_ON", "True",
         "ResamplingCascadeROIHeads have no keypoint head: set MODEL.KEYPOINT_ON False"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(key, value, said):
    with pytest.raises(InputError) as error:
        model_zoo.build_detector(config("cascade mask", f"MODEL.{key}", value))
    assert said in str(error.value)
