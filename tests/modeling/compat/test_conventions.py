"""Which detectors follow which conventions, and what is built where they do."""

import pytest
import torch
from helpers.cascades import NAMES, TWO, losses, row
from helpers.detectors import config as small_config

from hrnet_det import model_zoo
from hrnet_det.config.yaml import merge_overrides
from hrnet_det.errors import InputError
from hrnet_det.modeling.compat.conventions import CONVENTIONS, check_conventions
from hrnet_det.modeling.kinds import KINDS

OTHERS = ["mmdet", "hrnet_object_detection", "maskrcnn_benchmark"]
CPU = ["MODEL.DEVICE", "cpu"]


def refusal(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def test_the_table():
    assert list(CONVENTIONS) == ["detectron2", *OTHERS]
    assert {name for kind in KINDS.values() for name in kind.conventions} == set(OTHERS)


def test_unknown_conventions():
    said = refusal(lambda: check_conventions(KINDS["faster_rcnn"], "mmdet2"))
    assert said == f"unknown MODEL.CONVENTIONS 'mmdet2'; known: detectron2, {', '.join(OTHERS)}"


@pytest.mark.parametrize(
    ("config", "title", "allowed"),
    [
        ("Base-Panoptic-FPN-HRNetV2p", "Panoptic FPN", []),
        ("Base-RetinaNet-HRNetV2p", "RetinaNet", []),
        ("Base-RPN-HRNetV2p", "RPN", []),
        ("Base-SemanticSegmentation-HRNetV2", "Semantic segmentation", []),
    ],
)
def test_conventions_that_a_detector_does_not_follow(config, title, allowed):
    for name in (name for name in OTHERS if name not in allowed):
        cfg = model_zoo.get_config(config)
        cfg.MODEL.CONVENTIONS = name
        said = refusal(lambda cfg=cfg: model_zoo.build_detector(cfg))
        assert said.startswith(
            f"MODEL.CONVENTIONS {name} is not for {title}: set MODEL.CONVENTIONS "
            f"{' or '.join(['detectron2', *allowed])}, or take"
        )
        assert "Faster R-CNN, Mask R-CNN" in said
        assert "FCOS" in said


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize(
    ("config", "architecture", "built"),
    [
        ("quickstart/faster_rcnn", "GeneralizedRCNN", "CompatRCNN"),
        ("quickstart/keypoint_rcnn", "GeneralizedRCNN", "CompatRCNN"),
        ("quickstart/cascade_mask_rcnn", "GeneralizedRCNN", "CompatRCNN"),
        ("quickstart/htc", "HTC", "CompatHTC"),
        ("quickstart/fcos", "FCOS", "FCOS"),
    ],
)
def test_the_config_names_the_detector_and_what_is_built_follows_the_conventions(
    config, architecture, built, name
):
    cfg = model_zoo.get_config(config, [*CPU, "MODEL.CONVENTIONS", name])
    assert architecture == cfg.MODEL.META_ARCHITECTURE
    before = cfg.clone()
    model = model_zoo.build_detector(cfg)
    assert type(model).__name__ == built and model.conventions is CONVENTIONS[name]
    assert cfg == before
    merge_overrides(cfg, ["MODEL.CONVENTIONS", "detectron2"])
    assert type(model_zoo.build_detector(cfg)).__name__ == architecture


def test_parts_without_a_form_for_other_conventions():
    cfg = model_zoo.get_config("quickstart/faster_rcnn", [*CPU, "MODEL.CONVENTIONS", "mmdet"])
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "RRPN"
    said = refusal(lambda: model_zoo.build_detector(cfg))
    assert "MODEL.CONVENTIONS mmdet: MODEL.PROPOSAL_GENERATOR.NAME 'RRPN' has no such form" in said


@pytest.mark.parametrize("name", OTHERS)
def test_the_semantic_branch_of_htc_learns(name):
    torch.manual_seed(0)
    cfg = small_config("htc", "MODEL.CONVENTIONS", name)
    model = model_zoo.build_detector(cfg)
    found, _ = losses(model, row(TWO))
    assert {*NAMES, "loss_sem_seg"} <= set(found)
    found["loss_sem_seg"].backward()
    head = model.roi_heads.semantic_head
    assert head.predictor.weight.grad.abs().sum() > 0
    assert head.lateral_convs[0].weight.grad.abs().sum() > 0
    # as without the conventions, which say nothing of it
    plain = model_zoo.build_detector(small_config("htc"))
    plain.load_state_dict(model.state_dict())
    expected, _ = losses(plain, row(TWO))
    assert found["loss_sem_seg"].item() == pytest.approx(expected["loss_sem_seg"].item(), rel=1e-5)
